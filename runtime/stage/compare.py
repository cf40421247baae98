"""How far two arrays are apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """Distances between an engine's output and the reference's."""

    max_abs: float
    """Largest absolute difference."""
    relative: float
    """‖came − expected‖ / ‖expected‖."""
    typical: float
    """Median absolute difference over the root mean square of the expected values, both where these are not 0.

    Single entries that fall on the other side of a threshold do not move it; a layer that is wrong does.
    """
    cosine: float
    """Of the arrays as one vector each."""


def compare(came: np.ndarray, expected: np.ndarray) -> Difference:
    """Compare two arrays of one shape, in double precision."""
    if came.shape != expected.shape:
        raise ValueError(f"shapes differ: {list(came.shape)} and {list(expected.shape)}")
    x, y = came.astype(np.float64).reshape(-1), expected.astype(np.float64).reshape(-1)
    gap = np.abs(x - y)
    norm = float(np.linalg.norm(y))
    occupied = y != 0
    rms = float(np.sqrt(np.mean(np.square(y[occupied])))) if occupied.any() else 1.0
    return Difference(
        max_abs=float(gap.max(initial=0.0)),
        relative=float(np.linalg.norm(gap)) / (norm or 1.0),
        typical=float(np.median(gap[occupied])) / rms if occupied.any() else 0.0,
        cosine=float(x @ y) / (float(np.linalg.norm(x)) * norm or 1.0),
    )
