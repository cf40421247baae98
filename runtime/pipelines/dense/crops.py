"""Crops: what the tower sees of a photo."""

from __future__ import annotations

import itertools

import numpy as np
from PIL import Image

from ...geometry.limits import RESIZED, refuse_more
from ...geometry.sizes import HW, window_count, window_starts
from ...photo.reading import resize
from .parameters import DenseParameters


def cut_crops(photo: np.ndarray, parameters: DenseParameters, side: int) -> np.ndarray:
    """Stretch a photo over a square, and cut its crops; the last is the whole photo.

    Args:
        photo: [H, W, 3] uint8 RGB.
        parameters: the parameters in force.
        side: of the crops as the tower sees them.

    Returns:
        [n + 1, 3, side, side] float32 RGB in [0, 1], row by row.

    Raises:
        PhotoError: the photo would have too many pixels; says what to change.
    """
    pixels = shrunk(photo, parameters).astype(np.float32)
    pixels /= 255
    crop = parameters.crop
    square = resize(pixels, (parameters.side, parameters.side))
    cuts = [square[y : y + crop, x : x + crop] for y, x in places(parameters)]
    seen = [resize(cut, (side, side)) for cut in (*cuts, resize(pixels, (crop, crop)))]
    return np.ascontiguousarray(np.stack(seen).transpose(0, 3, 1, 2))


def places(parameters: DenseParameters) -> list[tuple[int, int]]:
    """Where crops begin in the square: y, x, row by row. The last of a row and of a column is shifted to fit."""
    starts = window_starts(parameters.side, parameters.crop, parameters.stride)
    return list(itertools.product(starts, starts))


def crop_count(parameters: DenseParameters) -> int:
    """How many crops a photo has, the whole photo included."""
    return window_count(parameters.side, parameters.crop, parameters.stride) ** 2 + 1


def shrunk(photo: np.ndarray, parameters: DenseParameters) -> np.ndarray:
    """The photo with the short side that the parameters say: [h, w, 3] uint8, as detectron2's ResizeShortestEdge.

    Raises:
        PhotoError: it would have too many pixels; says what to change.
    """
    hw = (photo.shape[0], photo.shape[1])
    wanted = shrunk_size(hw, parameters.short_side, parameters.max_long_side)
    h, w = wanted
    smaller = "Choose a smaller short_side, but not 0, or a smaller max_long_side."
    refuse_more(h * w, RESIZED, f"the photo resized to {w}×{h}", smaller)
    if wanted == hw:
        return photo
    return np.asarray(Image.fromarray(photo).resize(wanted[::-1], Image.Resampling.BILINEAR))


def shrunk_size(hw: HW, short_side: int, max_long_side: int) -> HW:
    """The photo's size after detectron2's ResizeShortestEdge; the same with a short side of 0."""
    if not short_side:
        return hw
    scale = short_side / min(hw)
    scale *= min(1.0, max_long_side / (max(hw) * scale))
    h, w = (max(1, int(side * scale + 0.5)) for side in hw)
    return h, w
