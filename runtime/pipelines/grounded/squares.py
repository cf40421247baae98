"""A photo in the square that OWLv2 sees: padded below or beside, smoothed where it gets smaller, resized."""

from __future__ import annotations

import cv2
import numpy as np


def square_image(photo: np.ndarray, side: int, level: float) -> np.ndarray:
    """The picture that OWLv2's authors make of a photo.

    The photo lies in the top left corner of a square as wide as its longer side n. Where n is larger than `side`, it is
    smoothed by a Gaussian of σ = (n / side − 1) / 2, cut off at ⌈3 σ⌉, which sees the square mirrored at its edges.
    Bilinear resizing, half pixels, no rounding. The square itself is never made, since a photo may be long and thin.

    Args:
        photo: [H, W, 3] uint8 RGB.
        side: of what is seen.
        level: of the padding, 0 to 1.

    Returns:
        [1, 3, side, side] float32 RGB in [0, 1].
    """
    height, width = photo.shape[:2]
    longest = max(height, width)
    sigma = max(0.0, (longest / side - 1) / 2)
    reach = int(np.ceil(3 * np.float32(sigma)))
    above = photo.astype(np.float32) / np.float32(255) - np.float32(level)
    above = np.pad(above, ((0, min(2 * reach, longest - height)), (0, min(2 * reach, longest - width)), (0, 0)))
    if reach:
        kernel = _gaussian(sigma, reach)
        above = cv2.sepFilter2D(above, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    upright = height >= width
    shorter = _resized(above if upright else above.transpose(1, 0, 2), longest, side)  # the longer axis: it may be huge
    square = _resized(shorter.transpose(1, 0, 2), longest, side).transpose((2, 1, 0) if upright else (2, 0, 1))
    return np.ascontiguousarray(square[None] + np.float32(level))


def _gaussian(sigma: float, reach: int) -> np.ndarray:
    places = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    kernel: np.ndarray = weights / weights.sum()
    return kernel


def _resized(rows: np.ndarray, longest: int, side: int) -> np.ndarray:
    """The first axis of rows brought from `longest` to `side`; rows that are not there are zero: [side, n, 3]."""
    places = np.clip((np.arange(side) + 0.5) * (longest / side) - 0.5, 0, longest - 1)
    lower = places.astype(np.intp)
    share = (places - lower).astype(np.float32)[:, None, None]
    resized: np.ndarray = (1 - share) * _row(rows, lower) + share * _row(rows, np.minimum(lower + 1, longest - 1))
    return resized


def _row(rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
    there = indices < len(rows)
    found: np.ndarray = rows[np.where(there, indices, 0)] * there[:, None, None].astype(np.float32)
    return found
