"""Non-maximum suppression: of boxes that overlap much, the best is kept."""

from __future__ import annotations

import numpy as np


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """The boxes that remain when each, the best first, drops those that overlap it by more than the threshold.

    Numbers are those of torchvision's `nms`, to the bit: areas are (x₁ − x₀)·(y₁ − y₀) of the coordinates as they are,
    in float32, so that a box one pixel wide has none and drops nothing.

    Args:
        boxes: [K, 4] x₀ y₀ x₁ y₁.
        scores: [K]; of equal ones the first is the better.
        threshold: of the IoU.

    Returns:
        [k] int, the best first.
    """
    sides = np.ascontiguousarray(boxes.T, np.float32)
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[~(_iou(sides, areas, best, left) > threshold)]  # 0/0 drops nothing
    return np.array(kept, np.intp)


def _iou(sides: np.ndarray, areas: np.ndarray, one: int, others: np.ndarray) -> np.ndarray:
    """[k] float64 of float32: IoU of one box with others."""
    x0, y0, x1, y1 = sides[:, others]
    width = np.maximum(np.minimum(x1, sides[2, one]) - np.maximum(x0, sides[0, one]), 0)
    height = np.maximum(np.minimum(y1, sides[3, one]) - np.maximum(y0, sides[1, one]), 0)
    shared = width * height
    with np.errstate(invalid="ignore"):
        overlap: np.ndarray = shared / (areas[one] + areas[others] - shared)
    return overlap.astype(np.float64)  # the threshold is compared unrounded
