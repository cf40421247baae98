"""Figures from profiling a stage, whoever measured them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from ..errors import EngineError
from ..stage.contract import StageContract, TensorSpec


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one run, over many."""

    what: str
    """The stretch timed, from where to where."""
    runs: int
    dropped: int = 0
    """Runs whose time was not a number."""
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """One layer or node."""

    name: str
    kind: str
    precision: str
    """Of its first output."""
    ms: float
    """Mean per run."""
    share: float
    """Of all layers' time, 0 to 1."""


class StageProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage's time goes."""

    stage: str
    precision: str
    """Of the engine."""
    measured_by: str
    sizes: dict[str, int]
    """Of the dynamic axes."""
    times: Times
    layers: tuple[LayerTime, ...]
    """The slowest first."""

    def precisions(self) -> dict[str, float]:
        """Share of the time by precision, the largest first."""
        shares: dict[str, float] = {}
        for layer in self.layers:
            shares[layer.precision] = shares.get(layer.precision, 0.0) + layer.share
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def summarize(milliseconds: Sequence[float], what: str, stage: str) -> Times:
    """Percentiles of runs; those that are not numbers are left out, and counted.

    Raises:
        EngineError: no run has a time.
    """
    values = np.asarray(milliseconds, np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise EngineError(f"{stage}: none of {values.size} runs has a time; run it again for longer")
    p50, p90, p95, p99 = (float(value) for value in np.percentile(finite, (50, 90, 95, 99)))
    return Times(
        what=what,
        runs=int(finite.size),
        dropped=int(values.size - finite.size),
        mean=float(finite.mean()),
        min=float(finite.min()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(finite.max()),
    )


def ranked(layers: Iterable[tuple[str, str, str, float]]) -> tuple[LayerTime, ...]:
    """Layers (name, kind, precision, milliseconds) with their shares, the slowest first; nan counts as no time."""
    known = [(name, kind, precision, ms if np.isfinite(ms) else 0.0) for name, kind, precision, ms in layers]
    total = sum(ms for *_, ms in known) or 1.0
    times = [
        LayerTime(name=name, kind=kind, precision=precision, ms=ms, share=ms / total)
        for name, kind, precision, ms in known
    ]
    return tuple(sorted(times, key=lambda layer: -layer.ms))


def timed_runs(run: Callable[[], object], iterations: int) -> list[float]:
    """Milliseconds of so many runs, after one that is not timed."""
    run()
    milliseconds = []
    for _ in range(iterations):
        start = time.perf_counter()
        run()
        milliseconds.append((time.perf_counter() - start) * 1e3)
    return milliseconds


def example_feeds(contract: StageContract, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Inputs of these sizes, floats in [0, 1); what sums to 1 or has unit length does so, else half would overflow.

    The time does not depend on the values.
    """
    rng = np.random.default_rng(0)
    return {spec.name: _example(spec, rng, sizes) for spec in contract.inputs}


def _example(spec: TensorSpec, rng: np.random.Generator, sizes: Mapping[str, int]) -> np.ndarray:
    shape, dtype = spec.sized(sizes), np.dtype(spec.dtype)
    if dtype.kind != "f":
        return np.ones(shape, dtype)
    values = rng.random(shape)
    if "to 1" in spec.range and "sum" in spec.range:
        values /= values.sum(axis=tuple(range(1, values.ndim)), keepdims=True)
    elif "unit length" in spec.range:
        axes = spec.layout.split(", ")
        values /= np.linalg.norm(values, axis=axes.index("channel") if "channel" in axes else -1, keepdims=True)
    return np.asarray(values, dtype)
