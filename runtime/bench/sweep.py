"""Sweeps: how the time of a photo grows along one axis, and which step grows the most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..bundle.bundle import Manifest
from ..errors import ParameterError
from ..photo.reading import resize
from ..pipelines.training_free.plan import plan_photo
from ..recipe.parameters import Parameters, with_overrides
from ..words.vocabulary import Vocabulary
from .plan import Outcome
from .rounds import Series, alternate

REST = "rest"
"""What no step accounts for."""


class Request(NamedTuple):
    """What a runner is asked."""

    photo: np.ndarray
    vocabulary: Vocabulary
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Base:
    """What a sweep starts from."""

    photo: np.ndarray
    vocabulary: Vocabulary
    parameters: Parameters
    manifest: Manifest

    @property
    def hw(self) -> tuple[int, int]:
        """The photo's size."""
        return self.photo.shape[0], self.photo.shape[1]


class Axis(NamedTuple):
    """What is varied."""

    unit: str
    """What one step along it is called."""
    units: str
    """Several of them."""
    requests: Callable[[Base], list[tuple[float | None, Request]]]
    """The points: where each lies, or None if only the outcome tells (the number of regions)."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point: medians over the rounds."""

    at: float
    milliseconds: float
    steps: dict[str, float]
    regions: int


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """How a step grows: the line through its medians, by least squares."""

    step: str
    per_unit: float
    """Milliseconds for one unit more."""
    share: float
    """Of the growth of all steps that grow."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One axis of one runner."""

    runner: str
    axis: str
    unit: str
    points: tuple[Point, ...]
    fixed: float
    """Milliseconds of the whole where its line meets 0."""
    per_unit: float
    """Of the whole."""
    terms: tuple[Term, ...]
    """The one that grows the most first."""


def random_vocabulary(count: int, length: int, *, background: bool = False, seed: int = 0) -> Vocabulary:
    """Classes without words: random unit embeddings, so that no text engine takes part.

    Args:
        count: of classes.
        length: of an embedding.
        background: whether class 0 is one.
        seed: the first classes of a larger vocabulary are those of a smaller one.
    """
    rows = np.random.default_rng(seed).standard_normal((count, length))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Vocabulary([f"class {index}" for index in range(count)], rows, background=background)


AREAS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the photo, times its own."""

CLASSES = (2, 6, 20, 60, 150)

MIN_AREAS = (1 / 20, 1 / 80, 1 / 320, 1 / 1280)
"""Of the half-resolution photo: the smaller, the more regions are refined, and never more than its inverse.

Without such a bound random classes break a photo into thousands, and SAM's decoder answers each.
"""

REGION_CLASSES = 60
"""So many classes break a photo into enough regions."""

MOST_WINDOWS, POINTS = 40, 5


def _sizes(base: Base) -> list[tuple[float | None, Request]]:
    points: list[tuple[float | None, Request]] = []
    for area in AREAS:
        hw = (max(1, round(base.hw[0] * area**0.5)), max(1, round(base.hw[1] * area**0.5)))
        points.append((hw[0] * hw[1] / 1e6, Request(resize(base.photo, hw), base.vocabulary, {})))
    return points


def _windows(base: Base) -> list[tuple[float | None, Request]]:
    """Strides that give different numbers of windows, evenly chosen among all that do."""
    patch = base.manifest.dimensions.clip_patch
    strides: dict[int, int] = {}
    for stride in range(base.parameters.crop // patch * patch, 0, -patch):
        parameters = with_overrides(base.parameters, {"stride": stride})
        rows, columns = plan_photo(base.hw, parameters, base.manifest.recipe.row, base.manifest.dimensions).windows_grid
        if rows * columns > MOST_WINDOWS:
            break
        strides.setdefault(rows * columns, stride)
    counts = sorted(strides)
    chosen = dict.fromkeys(counts[round(i)] for i in np.linspace(0, len(counts) - 1, POINTS))
    return [(count, Request(base.photo, base.vocabulary, {"stride": strides[count]})) for count in chosen]


def _classes(base: Base) -> list[tuple[float | None, Request]]:
    make = partial(random_vocabulary, length=base.manifest.dimensions.embedding, background=base.vocabulary.background)
    return [(count, Request(base.photo, make(count), {})) for count in CLASSES]


def _regions(base: Base) -> list[tuple[float | None, Request]]:
    if not base.parameters.refine:
        raise ParameterError("the sweep over regions needs refinement: without it no region is prompted")
    vocabulary = random_vocabulary(
        REGION_CLASSES, base.manifest.dimensions.embedding, background=base.vocabulary.background
    )
    half = base.hw[0] * base.hw[1] / 4
    certain = {"region_threshold": 0.0, "probability_threshold": 0.0}  # every pixel may belong to a region
    return [(None, Request(base.photo, vocabulary, {**certain, "min_area": half * share})) for share in MIN_AREAS]


AXES = {
    "size": Axis("megapixel", "megapixels", _sizes),
    "windows": Axis("window", "windows", _windows),
    "classes": Axis("class", "classes", _classes),
    "regions": Axis("region", "regions", _regions),
}


def sweep(axis: str, runner: str, run: Callable[..., Outcome], base: Base, rounds: int) -> Sweep:
    """Time all points of an axis in turn, round by round, after an untimed run of each.

    Args:
        axis: a key of `AXES`.
        runner: its label.
        run: the runner's `run`.
        base: the photo and all else.
        rounds: how often each point is timed.

    Raises:
        ParameterError: the axis needs what this bundle does not do.
    """
    requests = AXES[axis].requests(base)
    for _, request in requests:
        run(*request)
    series = alternate({i: partial(run, *request) for i, (_, request) in enumerate(requests)}, rounds)
    points = [_point(at, series[index]) for index, (at, _) in enumerate(requests)]
    return fitted(axis, runner, points)


def fitted(axis: str, runner: str, points: Sequence[Point]) -> Sweep:
    """Lines through the medians of the whole and of every step."""
    ordered = sorted(points, key=lambda point: point.at)
    xs = [point.at for point in ordered]
    per_unit, fixed = _line(xs, [point.milliseconds for point in ordered])
    names = list(dict.fromkeys(name for point in ordered for name in point.steps))
    slopes = {name: _line(xs, [point.steps.get(name, 0.0) for point in ordered])[0] for name in names}
    growing = sum(slope for slope in slopes.values() if slope > 0) or 1.0
    terms = [Term(step=name, per_unit=slope, share=max(slope, 0.0) / growing) for name, slope in slopes.items()]
    return Sweep(
        runner=runner, axis=axis, unit=AXES[axis].unit, points=tuple(ordered), fixed=fixed, per_unit=per_unit,
        terms=tuple(sorted(terms, key=lambda term: -term.per_unit)),
    )  # fmt: skip


def _point(at: float | None, series: Series) -> Point:
    steps = {name: float(np.median(series.step(name))) for name in series.step_names()}
    steps[REST] = float(np.median(series.without(steps)))
    regions = series.regions[0]
    return Point(
        at=float(regions if at is None else at), milliseconds=float(np.median(series.whole)), steps=steps,
        regions=regions,
    )  # fmt: skip


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Slope and value at 0 of the line of least squares; flat where all points lie at one place."""
    x, y = np.asarray(xs), np.asarray(ys)
    away = x - x.mean()
    slope = float((away * y).sum() / (away**2).sum()) if away.any() else 0.0
    return slope, float(y.mean() - slope * x.mean())
