"""From what was seen of a value to the magnitude that the largest number stands for. One function a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...runtime.graph.observe import Observation
from ...runtime.graph.qdq import FORMATS, Format, quantised
from ...runtime.stage.precision import INT8

HEADROOM = 1.25
"""What `wide` multiplies the largest magnitude by."""

QUANTILE = 0.9999
"""Share of magnitudes that `percentile` keeps."""

BINS = 2048
LEVELS = 128
"""Magnitudes that INT8 tells apart."""

STRIDE = 16
"""Bins from one range that `entropy` tries to the next."""

SHRUNK = np.linspace(0.3, 1.0, 36)
"""Ranges that `mse` tries, as parts of the largest magnitude."""

FLOOR = 1e-6
"""The least limit: a value that is always zero still needs a scale."""


def minmax(seen: Observation, of: Format) -> float:
    """The largest magnitude seen: nothing is clipped."""
    return float(seen.largest.max())


def wide(seen: Observation, of: Format) -> float:
    """The largest magnitude seen and a quarter more: a photo that was not seen may have a larger one."""
    return minmax(seen, of) * HEADROOM


def percentile(seen: Observation, of: Format) -> float:
    """The magnitude below which all but one in ten thousand lie."""
    return float(np.quantile(np.abs(seen.rows), QUANTILE))


def mse(seen: Observation, of: Format) -> float:
    """The range with the least squared error of the values themselves."""
    largest = minmax(seen, of)
    errors = [float(np.square(quantised(seen.rows, max(r * largest, FLOOR), of) - seen.rows).sum()) for r in SHRUNK]
    return float(SHRUNK[int(np.argmin(errors))]) * largest


def entropy(seen: Observation, of: Format) -> float:
    """The range whose 128 levels keep the most of the distribution of magnitudes (least Kullback-Leibler divergence).

    What lies beyond a range is counted in its last bin, as it is clipped there; a level's count is spread evenly over
    the bins that it stands for and that are not empty.
    """
    largest = minmax(seen, of)
    if largest <= FLOOR:
        return largest
    counts, edges = np.histogram(np.abs(seen.rows), bins=BINS, range=(0.0, largest))
    counts = counts.astype(np.float64)
    ends = list(range(LEVELS, BINS + 1, STRIDE))
    divergences = [_divergence(counts, end) for end in ends]
    return float(edges[ends[int(np.argmin(divergences))]])


METHODS: dict[str, Callable[[Observation, Format], float]] = {
    "minmax": minmax, "wide": wide, "percentile": percentile, "entropy": entropy, "mse": mse,
}  # fmt: skip
"""By name. They take what was seen, and the format that it is for."""

EVENLY_SPACED = ("entropy",)
"""Methods that count on it."""


def methods_for(of: Format, asked: Sequence[str]) -> tuple[str, ...]:
    """The methods that suit a format, of those asked for; one that does not is left out."""
    return tuple(method for method in asked if of.integer or method not in EVENLY_SPACED) or ("minmax",)


def limit_of(seen: Observation, method: str, of: Format = FORMATS[INT8]) -> float:
    """A value's limit by a method, never zero."""
    return max(METHODS[method](seen, of), FLOOR)


def clipped(seen: Observation, limit: float) -> float:
    """Share of the values seen that a limit clips."""
    return float(np.mean(np.abs(seen.rows) > limit))


def _divergence(counts: np.ndarray, end: int) -> float:
    inside = counts[:end]
    truth = inside.copy()
    truth[-1] += counts[end:].sum()
    level = np.arange(end) * LEVELS // end
    occupied = inside > 0
    totals = np.bincount(level, weights=inside, minlength=LEVELS)
    places = np.bincount(level, weights=occupied, minlength=LEVELS)
    spread = np.where(occupied, (totals / np.maximum(places, 1))[level], 0.0)
    if not spread.sum():
        return float("inf")
    truth, spread = truth / truth.sum(), spread / spread.sum()
    both = (truth > 0) & (spread > 0)
    lost = truth[(truth > 0) & (spread == 0)].sum()  # what a level cannot express counts as a rare event
    return float((truth[both] * np.log(truth[both] / spread[both])).sum() + lost * np.log(1 / np.finfo(np.float32).eps))
