"""Fitting: search on one part of the photos, and ask the other part whether anything was gained."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...runtime.errors import DatasetError, ParameterError
from ...runtime.pipelines.base import Segmenter
from ...runtime.pipelines.worded.replaying import Replaying
from .axes import Axis, axes_for
from .noise import Gain, bootstrap_gain
from .search import MIN_GAIN, Search, Trial
from .yardsticks import COARSE, Yardstick

Advance = Callable[[int], None]
"""Called with how many trials of a photo are done; progress bars want it."""


@dataclass(frozen=True)
class Part:
    """One part of the photos, before and after.

    Attributes:
        photos: how many.
        before: figures by kind, with the values that held.
        after: likewise, with those found.
        gain: of what counts.
    """

    photos: int
    before: dict[str, float]
    after: dict[str, float]
    gain: Gain


@dataclass(frozen=True)
class Fit:
    """The outcome of a search.

    Attributes:
        kind: what counts: the mask `refined` or `coarse`, or `F1`.
        word: the name of the figure, for people.
        column: what kinds are kinds of, likewise.
        before: the values that held, by parameter.
        found: the best values on the photos that were fitted on.
        fitted: the photos that were fitted on.
        checked: those held out; None if there are none.
        trials: everything that was tried.
        exhausted: whether the search ended because it was allowed no more.
    """

    kind: str
    word: str
    column: str
    before: dict[str, float]
    found: dict[str, float]
    fitted: Part
    checked: Part | None
    trials: tuple[Trial, ...]
    exhausted: bool

    @property
    def accepted(self) -> bool:
        """Whether the values found should be used: not if they do worse, or no better, on the photos held out."""
        return self.found != self.before and (self.checked is None or self.checked.gain.gain > 0)

    @property
    def chosen(self) -> dict[str, float]:
        """The values to use."""
        return self.found if self.accepted else self.before


def replaying(segmenter: Segmenter) -> Replaying:
    """A segmenter whose engines' results can be decided again.

    Raises:
        ParameterError: it is of a pipeline whose thresholds are not those that are fitted.
    """
    if not isinstance(segmenter, Replaying):
        raise ParameterError(
            f"there is nothing to tune: the pipeline {segmenter.manifest.recipe.pipeline!r} has none of the settings "
            f"that are fitted. Its own parameters can be set by --set"
        )
    return segmenter


def tunable(parameters: Any, background: bool, unused: Collection[str] = ()) -> tuple[Axis, ...]:
    """The axes that can change a mask, or things.

    Raises:
        ParameterError: there are none, or there is a threshold for a background that is not there.
    """
    probable = getattr(parameters, "probability_threshold", 0)
    if probable > 0 and not background:
        raise ParameterError(
            f"probability_threshold={probable} sends unlikely pixels to class 0, and this dataset has no background; "
            f"set it to 0"
        )
    axes = axes_for(parameters, background, unused)
    if not axes:
        raise ParameterError(
            "there is nothing to tune: without a background and without refinement a pixel's class is the largest "
            "logit, whatever the thresholds; tune with refine=true, or a dataset that has a background"
        )
    return axes


def split(names: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """Names to fit on, and names held out: by the names' hashes, so that neighbours part and order does not matter.

    Args:
        names: of photos.
        share: of them that is held out, rounded to whole photos; at least one is left to fit on.
    """
    held_out = min(math.floor(len(names) * share + 0.5), len(names) - 1)
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    apart = set(ranked[: max(0, held_out)])
    return [name for name in names if name not in apart], [name for name in names if name in apart]


def fit(
    yardstick: Yardstick,
    parameters: Any,
    axes: Sequence[Axis],
    *,
    background: bool,
    names: Sequence[str],
    held_out: Sequence[str],
    budget: int,
    advance: Advance = lambda trials: None,
) -> Fit:
    """Search on `names`, then compare on `held_out`.

    With a background the coarse mask's mIoU is searched first, over what decides that mask, since that needs no
    decoder. Then the figure that counts, over everything, from the better of the two points.

    Args:
        yardstick: measures recorded photos.
        parameters: those in force.
        axes: what may vary; of `tunable`.
        background: whether class 0 is one.
        names: of the photos to fit on.
        held_out: of those to check on.
        budget: how many trials there may be.
        advance: told of progress.

    Raises:
        DatasetError: nothing in the photos to fit on counts.
    """
    measure = _Measure(yardstick, advance)

    def evaluate(points: list[dict[str, float]], stage: str) -> list[float]:
        return [tallies[stage].figure() for tallies in measure(names, points, (stage,))]

    search = Search(axes, evaluate, budget)
    before = {axis.name: getattr(parameters, axis.name) for axis in axes}
    if math.isnan(search.score([before], yardstick.kind)[0]):
        raise DatasetError(yardstick.undefined)
    best = _search(search, before, yardstick.kind, background)
    parts = [measure.part(part, before, best) if part else None for part in (names, held_out)]
    assert parts[0] is not None, "a score was computed on it"
    told = yardstick.kind, yardstick.word, yardstick.column
    return Fit(*told, before, best, parts[0], parts[1], tuple(search.trials), search.exhausted)


def _search(search: Search, before: dict[str, float], kind: str, background: bool) -> dict[str, float]:
    start, first = before, [axis for axis in search.axes if axis.coarse]
    if background and first and kind != COARSE:
        coarse = search.descend(before, COARSE, first)
        usual, other = search.score([before, coarse], kind)
        start = coarse if other > usual + MIN_GAIN else before
    return search.descend(start, kind, search.axes)


class _Measure:
    """Tallies of points over photos, photo by photo, so that a photo's record is read once for all of them."""

    def __init__(self, yardstick: Yardstick, advance: Advance) -> None:
        self._yardstick, self._advance = yardstick, advance

    def __call__(
        self, names: Sequence[str], points: Sequence[Mapping[str, float]], kinds: Sequence[str]
    ) -> list[dict[str, Any]]:
        """A tally for each point and kind."""
        tallies = [{kind: self._yardstick.tally() for kind in kinds} for _ in points]
        for name in names:
            for tally, told in zip(tallies, self._yardstick.compare(name, points, kinds), strict=True):
                for kind in kinds:
                    tally[kind].add(told[kind])
            self._advance(len(points))
        return tallies

    def part(self, names: Sequence[str], before: Mapping[str, float], after: Mapping[str, float]) -> Part:
        """Both points on all photos of a part."""
        one, other = self(names, [before, after], self._yardstick.kinds)
        gain = bootstrap_gain(*(tallies[self._yardstick.kind] for tallies in (one, other)))
        return Part(len(names), self._yardstick.figures(one), self._yardstick.figures(other), gain)
