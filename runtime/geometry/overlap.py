"""How much two masks have in common."""

from __future__ import annotations

import numpy as np


def mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks [H, W], of bool or numbers that are not 0 inside; 1 if both are empty."""
    one, other = (each if each.dtype == bool else each != 0 for each in (one, other))
    shared = np.count_nonzero(one & other)
    union = np.count_nonzero(one) + np.count_nonzero(other) - shared
    return shared / union if union else 1.0
