"""Pace: the settings of one bundle that decide how long a photo takes, and what they cost in mIoU.

Every candidate segments every photo, one after another on each, so that a slow minute falls on all. Candidates that
differ only in whether masks are refined share a photo's encoding, and its time; what refinement alone needs of it, as
SAM's encoder, is made later, in the time of the one that refines.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...runtime.datasets import Dataset, Sample
from ...runtime.errors import OF_ONE_PHOTO, DatasetError, printable
from ...runtime.evaluation.metrics import confusion
from ...runtime.evaluation.predictors import Words, to_dataset
from ...runtime.pipelines.base import Segmenter
from .noise import Gain, Tally, bootstrap_gain

SIDES = (0.75, 1.0, 4 / 3)
"""Short sides that are tried, as factors of the present one; a window's side is tried too."""

STRIDES = (0.5, 1.0)
"""Steps between windows, as factors of the present one; a window's side, which leaves no overlap, is tried too."""

HOPELESS = 1.5
"""A candidate that took so many budgets on a photo is tried on no other."""

Values = Mapping[str, Any]


@dataclass
class Candidate:
    """Settings, and how they did.

    Attributes:
        values: by parameter: `short_side` (of learned models `side`), `stride`, `refine`.
        times: milliseconds of each photo, from the decoded photo to the mask.
        tally: how its masks compare with the labels.
        dropped: whether it was given up as too slow.
    """

    values: dict[str, Any]
    tally: Tally
    times: list[float] = field(default_factory=list)
    dropped: bool = False

    @property
    def ms(self) -> float:
        """The median of a photo."""
        return statistics.median(self.times) if self.times else math.nan

    @property
    def miou(self) -> float:
        """On all photos; NaN for one that was given up."""
        return math.nan if self.dropped else self.tally.miou()


@dataclass(frozen=True)
class Judged:
    """What photos held out say of the settings chosen.

    Attributes:
        photos: how many.
        before, after: the settings that held, and those chosen.
        gain: of mIoU, chosen over before.
    """

    photos: int
    before: Candidate
    after: Candidate
    gain: Gain


def candidates(parameters: Any, most: int, size: str = "short_side") -> list[dict[str, Any]]:
    """The settings in force and others near them, the nearest first.

    Args:
        parameters: those in force.
        most: how many may be tried.
        size: the parameter that says how large a photo is seen.
    """
    crop, side, stride = parameters.crop, getattr(parameters, size), parameters.stride
    sides = {side, crop, *(max(crop, round(side * factor)) for factor in SIDES)}
    strides = {stride, crop, *(min(crop, max(1, round(stride * factor))) for factor in STRIDES)}
    refine = {parameters.refine, False}  # a recipe without refinement may have no decoder
    points = itertools.product(sides, strides, refine)

    def distance(point: tuple[int, int, bool]) -> tuple[float, bool, int]:
        apart = abs(math.log(point[0] / side)) + abs(math.log(point[1] / stride))
        return apart, point[2] != parameters.refine, point[0]

    return [dict(zip((size, "stride", "refine"), point, strict=True)) for point in sorted(points, key=distance)[:most]]


def run(
    segmenter: Segmenter,
    samples: Iterable[Sample],
    words: Words,
    points: Sequence[Values],
    classes: int,
    *,
    budget: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[int], None] = lambda photos: None,
) -> list[Candidate]:
    """Let every candidate segment every photo.

    Args:
        segmenter: the engines.
        samples: photos with their labels, read one by one.
        words: the dataset's vocabulary.
        points: values by parameter; the first is never given up.
        classes: how many the dataset has.
        budget: milliseconds a photo. What takes `HOPELESS` times as long on one is not tried again.
        clock: seconds, from any beginning.
        advance: told of each photo that is done.

    Raises:
        EngineError: an engine failed.
    """
    tried = [Candidate(dict(point), Tally(classes)) for point in points]
    for sample in samples:
        for group in _alike(tried):
            _segment(segmenter, sample, words, group, classes, clock)
        for candidate in tried[1:]:
            candidate.dropped |= bool(candidate.times) and candidate.times[-1] > HOPELESS * budget
        advance(1)
    return tried


def _alike(tried: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that are still tried, together where the photo's encoding is the same."""
    groups: dict[tuple[Any, ...], list[Candidate]] = {}
    for candidate in tried:
        if not candidate.dropped:
            groups.setdefault(_encoding(candidate.values), []).append(candidate)
    return list(groups.values())


def _encoding(values: Values) -> tuple[Any, ...]:
    return tuple(value for name, value in values.items() if name != "refine")


def _segment(
    segmenter: Segmenter,
    sample: Sample,
    words: Words,
    group: Sequence[Candidate],
    classes: int,
    clock: Callable[[], float],
) -> None:
    vocabulary, start = words.given(sample), clock()
    refine = all(candidate.values["refine"] for candidate in group)  # else no other pays for what it alone needs
    encoded = segmenter.encode(sample.photo, parameters={**group[0].values, "refine": refine})
    encoding = clock() - start
    for candidate in group:
        start = clock()
        result = encoded.segment(vocabulary, parameters=candidate.values)
        candidate.times.append((encoding + clock() - start) * 1e3)
        candidate.tally.add(confusion(sample.labels, to_dataset(result.mask, sample), classes))


def readable(dataset: Dataset, names: Iterable[str], failed: dict[str, str]) -> Iterator[Sample]:
    """The photos that can be read; errors of the others go into `failed`, by name."""
    for name in names:
        try:
            yield dataset.read(name)
        except OF_ONE_PHOTO as error:
            failed[printable(name)] = printable(error)


def judge(before: Candidate, after: Candidate) -> Judged:
    """Compare two candidates that ran on the same photos."""
    return Judged(before.tally.photos, before, after, bootstrap_gain(before.tally, after.tally))


def warm_up(segmenter: Segmenter, dataset: Dataset, words: Words, points: Sequence[Values]) -> None:
    """Let every engine run once, since first runs take longer: the first photo that can be read, with each setting.

    Raises:
        DatasetError: no photo can be read.
    """
    failed: dict[str, str] = {}
    for sample in readable(dataset, dataset.names, failed):
        run(segmenter, [sample], words, points, len(dataset.classes))
        return
    raise DatasetError(f"no photo could be read; the first says: {next(iter(failed.values()), 'there is none')}")
