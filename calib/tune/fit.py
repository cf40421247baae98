"""Fitting: search on one part of the photos, and ask the other part whether anything was gained."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...runtime.errors import DatasetError, ParameterError
from ...runtime.evaluation.metrics import confusion
from ...runtime.evaluation.predictors import KINDS
from ...runtime.pipelines.base import Segmenter
from ...runtime.pipelines.worded.replaying import Replaying
from .axes import Axis, axes_for
from .noise import Gain, Tally, bootstrap_gain
from .replay import Replay
from .search import MIN_GAIN, Search, Trial

REFINED, COARSE = KINDS

Advance = Callable[[int], None]
"""Called with how many trials of a photo are done; progress bars want it."""


@dataclass(frozen=True)
class Part:
    """One part of the photos, before and after.

    Attributes:
        photos: how many.
        before: mIoU by kind of mask, with the values that held.
        after: likewise, with those found.
        gain: of the mask that counts.
    """

    photos: int
    before: dict[str, float]
    after: dict[str, float]
    gain: Gain


@dataclass(frozen=True)
class Fit:
    """The outcome of a search.

    Attributes:
        kind: the mask that counts, `refined` or `coarse`.
        before: the values that held, by parameter.
        found: the best values on the photos that were fitted on.
        fitted: the photos that were fitted on.
        checked: those held out; None if there are none.
        trials: everything that was tried.
        exhausted: whether the search ended because it was allowed no more.
    """

    kind: str
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
    """A segmenter whose engines' results can be labelled again.

    Raises:
        ParameterError: it is of a pipeline whose thresholds are not those that are fitted.
    """
    if not isinstance(segmenter, Replaying):
        raise ParameterError(
            f"there is nothing to tune: the pipeline {segmenter.manifest.recipe.pipeline!r} has none of the settings "
            f"that are fitted. Its own parameters can be set by --set"
        )
    return segmenter


def tunable(parameters: Any, background: bool) -> tuple[Axis, ...]:
    """The axes that can change a mask.

    Raises:
        ParameterError: there are none, or there is a threshold for a background that is not there.
    """
    if parameters.probability_threshold > 0 and not background:
        raise ParameterError(
            f"probability_threshold={parameters.probability_threshold} sends unlikely pixels to class 0, and this "
            f"dataset has no background; set it to 0"
        )
    axes = axes_for(parameters, background)
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
    replay: Replay,
    parameters: Any,
    *,
    background: bool,
    classes: int,
    names: Sequence[str],
    held_out: Sequence[str],
    budget: int,
    advance: Advance = lambda trials: None,
) -> Fit:
    """Search on `names`, then compare on `held_out`.

    With a background the coarse mask's mIoU is searched first, over what decides that mask, since that needs no
    decoder. Then the mIoU of the mask that counts, over everything, from the better of the two points.

    Args:
        replay: makes masks of recorded photos.
        parameters: those in force.
        background: whether class 0 is one.
        classes: how many the dataset has.
        names: of the photos to fit on.
        held_out: of those to check on.
        budget: how many trials there may be.
        advance: told of progress.

    Raises:
        ParameterError: nothing can be tuned.
        DatasetError: no pixel of the photos to fit on counts.
    """
    axes = tunable(parameters, background)
    kind = REFINED if parameters.refine else COARSE
    measure = _Measure(replay, classes, kind, advance)

    def evaluate(points: list[dict[str, float]], stage: str) -> list[float]:
        return [tallies[stage].miou() for tallies in measure(names, points, (stage,))]

    search = Search(axes, evaluate, budget)
    before = {axis.name: getattr(parameters, axis.name) for axis in axes}
    if math.isnan(search.score([before], kind)[0]):
        raise DatasetError("no pixel of the photos to fit on has a label that counts; mIoU is not defined")
    best = _search(search, before, kind, background)
    parts = [measure.part(part, before, best) if part else None for part in (names, held_out)]
    assert parts[0] is not None, "a score was computed on it"
    return Fit(kind, before, best, parts[0], parts[1], tuple(search.trials), search.exhausted)


def _search(search: Search, before: dict[str, float], kind: str, background: bool) -> dict[str, float]:
    start = before
    if background and kind != COARSE:
        coarse = search.descend(before, COARSE, [axis for axis in search.axes if axis.coarse])
        usual, other = search.score([before, coarse], kind)
        start = coarse if other > usual + MIN_GAIN else before
    return search.descend(start, kind, search.axes)


class _Measure:
    """Tallies of points over photos, photo by photo, so that a photo's record is read once for all of them."""

    def __init__(self, replay: Replay, classes: int, kind: str, advance: Advance) -> None:
        self._replay, self._classes, self._kind, self._advance = replay, classes, kind, advance

    def __call__(
        self, names: Sequence[str], points: Sequence[Mapping[str, float]], kinds: Sequence[str]
    ) -> list[dict[str, Tally]]:
        """A tally for each point and kind. Nothing is refined unless `refined` is asked for."""
        tallies = [{kind: Tally(self._classes) for kind in kinds} for _ in points]
        settings = [{**point, "refine": REFINED in kinds} for point in points]
        for name in names:
            labels, found = self._replay.masks(name, settings)
            for tally, masks in zip(tallies, found, strict=True):
                for kind in kinds:
                    tally[kind].add(confusion(labels, masks[kind], self._classes))
            self._advance(len(points))
        return tallies

    def part(self, names: Sequence[str], before: Mapping[str, float], after: Mapping[str, float]) -> Part:
        """Both points on all photos of a part."""
        kinds = tuple(dict.fromkeys((self._kind, COARSE)))
        one, other = self(names, [before, after], kinds)
        gain = bootstrap_gain(one[self._kind], other[self._kind])
        return Part(len(names), _figures(one), _figures(other), gain)


def _figures(tallies: Mapping[str, Tally]) -> dict[str, float]:
    return {kind: tally.miou() for kind, tally in tallies.items()}
