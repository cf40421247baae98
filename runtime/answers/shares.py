"""How much of a photo each class has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def class_shares(mask: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Pixels, share and mean score of every class, as plain values.

    Args:
        mask: [H, W] class index.
        scores: [H, W] float32.
        names: the classes' names.
    """
    counts = np.bincount(mask.reshape(-1), minlength=len(names))
    sums = np.bincount(mask.reshape(-1), weights=scores.reshape(-1), minlength=len(names))
    return [
        {
            "index": index,
            "name": name,
            "pixels": int(counts[index]),
            "share": float(counts[index] / mask.size),
            "mean_score": float(sums[index] / max(counts[index], 1)),
        }
        for index, name in enumerate(names)
    ]
