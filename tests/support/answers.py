"""Results without engines, for the tests of answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ovdeploy.runtime import Result


def result_of(mask: np.ndarray, classes: int | None = None, **fields: Any) -> Result:
    """A result with this mask, and random scores and pixels.

    Args:
        mask: [H, W] class index.
        classes: how many there are; None means the ones that occur.
        fields: others of the result.
    """
    rng = np.random.default_rng(0)
    scores, photo = rng.random(mask.shape, np.float32), rng.integers(0, 256, (*mask.shape, 3), np.uint8)
    names = tuple(f"class {index}" for index in range(int(mask.max()) + 1 if classes is None else classes))
    mask = mask.astype(np.uint16)
    made = Result(mask, mask, scores, names, (), {"decode": 1.23456, "total": 2.0}, photo)
    return replace(made, **fields)


def random_result(hw: tuple[int, int] = (9, 14), classes: int = 3, **fields: Any) -> Result:
    """A result of noise."""
    return result_of(np.random.default_rng(0).integers(0, classes, hw), classes, **fields)
