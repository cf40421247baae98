"""Effects of half precision on weights: rounding, overflow, and values that vanish."""

from __future__ import annotations

import numpy as np
from onnx import helper

from .model import HALF_TYPES

VANISHED_SHARE = 0.01
"""Share of a weight's non-zero elements that may become 0. A matrix of normally distributed weights loses one in a
million; a matrix scaled by 1e-8 loses them all, and so does a lone ε of 1e-12."""

SUBNORMAL_SHARE = 0.5
"""Share of a weight's non-zero elements that may fall below the smallest normal number, where bits are lost."""

SMALLEST_NORMAL = {"fp16": 2.0**-14, "bf16": 2.0**-126}


def rounded(array: np.ndarray, precision: str) -> np.ndarray:
    """An array in a half precision, rounded to nearest even; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return array.astype(helper.tensor_dtype_to_np_dtype(HALF_TYPES[precision]))


def weight_problem(array: np.ndarray, precision: str) -> str | None:
    """The fault of a weight in half precision; None if it has none.

    Args:
        array: float32; infinities of its own (masks) are fine.
        precision: `fp16` or `bf16`.
    """
    half = rounded(array, precision).astype(np.float32)
    overflown = int((np.isinf(half) & np.isfinite(array)).sum())
    if overflown:
        largest = float(np.abs(array[np.isfinite(array)]).max())
        return f"overflows: {overflown} of {array.size} values become infinite, the largest is {largest:.4g}"
    occupied = array != 0
    count = int(occupied.sum())
    vanished = int((occupied & (half == 0)).sum())
    if vanished > VANISHED_SHARE * count:
        return f"vanishes: {vanished} of {count} values become 0"
    small = int((occupied & (np.abs(half) < SMALLEST_NORMAL[precision])).sum())
    if small > SUBNORMAL_SHARE * count:
        return f"nearly vanishes: {small} of {count} values are subnormal and lose bits"
    return None
