"""Sweeps: how the time of a photo grows along one axis, and which step grows the most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from ..pipelines.sweeps import Base, SweepAxis
from .plan import Outcome
from .rounds import Series, alternate

REST = "rest"
"""The time that no step accounts for."""


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
    units: str
    """One step along it, and several."""
    points: tuple[Point, ...]
    fixed: float
    """Milliseconds of the whole where its line meets 0."""
    per_unit: float
    """Of the whole."""
    terms: tuple[Term, ...]
    """The one that grows the most first."""


def sweep(axis: str, runner: str, run: Callable[..., Outcome], base: Base, rounds: int) -> Sweep:
    """Time all points of an axis in turn, round by round, after an untimed run of each.

    Args:
        axis: one of the sweeps of the bundle's pipeline.
        runner: its label.
        run: the runner's `run`.
        base: the photo and all else.
        rounds: how often each point is timed.

    Raises:
        ParameterError: the axis needs what this bundle does not do.
    """
    along = base.manifest.recipe.family.sweeps[axis]
    requests = along.requests(base)
    for _, request in requests:
        run(*request)
    series = alternate({i: partial(run, *request) for i, (_, request) in enumerate(requests)}, rounds)
    points = [_point(at, series[index]) for index, (at, _) in enumerate(requests)]
    return fitted(axis, runner, points, along)


def fitted(axis: str, runner: str, points: Sequence[Point], along: SweepAxis) -> Sweep:
    """Lines through the medians of the whole and of every step along an axis."""
    ordered = sorted(points, key=lambda point: point.at)
    xs = [point.at for point in ordered]
    per_unit, fixed = _line(xs, [point.milliseconds for point in ordered])
    names = list(dict.fromkeys(name for point in ordered for name in point.steps))
    slopes = {name: _line(xs, [point.steps.get(name, 0.0) for point in ordered])[0] for name in names}
    growing = sum(slope for slope in slopes.values() if slope > 0) or 1.0
    terms = [Term(step=name, per_unit=slope, share=max(slope, 0.0) / growing) for name, slope in slopes.items()]
    return Sweep(
        runner=runner, axis=axis, unit=along.unit, units=along.units, points=tuple(ordered), fixed=fixed,
        per_unit=per_unit, terms=tuple(sorted(terms, key=lambda term: -term.per_unit)),
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
