"""Which of the decoder's masks stands for an object, and how a mask that was given becomes a prompt."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from ...errors import PromptError, warn
from ...geometry.sizes import HW
from ..prompt_input import as_array
from .sizes import TrackingDimensions

MARGIN, STABLE = 0.05, 0.98
"""A mask is stable if so much of what is above minus the margin is above the margin too."""
INSIDE, SPAN = 10.0, 20.0
"""The logit inside of a given mask, and the step from outside."""
FILLED = 0.1
"""The logit that a filled hole gets."""
BILINEAR = Image.Resampling.BILINEAR
"""Pillow's, which averages over what falls together when it makes smaller."""


class Given(NamedTuple):
    """A mask that was given, as the engines take it."""

    whole: np.ndarray
    """[S, S] float32 logits, ±10."""
    logits: np.ndarray
    """[m, m] float32, the answer's."""
    prompt: np.ndarray
    """[m, m] float32, the decoder's mask prompt."""
    empty: bool


def chosen(logits: np.ndarray, iou: np.ndarray, several: bool) -> tuple[int, int]:
    """Which mask, and which pointer.

    Args:
        logits: [4, m, m], the single mask first.
        iou: [4].
        several: whether one of the three is taken, as where at most one point says what is meant.
    """
    best = 1 + int(np.argmax(iou[1:]))
    if several:
        return best, best
    outer = np.count_nonzero(logits[0] > -MARGIN)
    stable = not outer or np.float32(np.count_nonzero(logits[0] > MARGIN) / outer) >= STABLE
    return (0 if stable else best), 0


def given_mask(mask: Any, frame_hw: HW, sizes: TrackingDimensions) -> Given:
    """A user's mask as prompt, answer and memory.

    Args:
        mask: [H, W] bool.
        frame_hw: the frame's size.
        sizes: the model's.

    Raises:
        PromptError: it is none, or of another size.
    """
    array = as_array(mask, "mask")
    if array.shape != frame_hw or array.dtype.kind not in "bui":
        raise PromptError(
            f"mask: expected booleans of the frame's shape {list(frame_hw)}, got {array.dtype} {list(array.shape)}"
        )
    side, small = sizes.frame_side, sizes.mask_side
    inside = _resized((array > 0).astype(np.float32), side) >= 0.5
    whole = np.where(inside, INSIDE, INSIDE - SPAN).astype(np.float32)
    if array.any() and not inside.any():
        warn(
            f"a mask vanishes where it is scaled to the {side}×{side} pixels that the model sees, so the object counts "
            "as absent; prompt it by a point or a box, or on a part of the frame"
        )
    cells = inside.reshape(small, side // small, small, side // small).astype(np.float32)
    kernel = np.array(sizes.mask_kernel, np.float32).reshape(4, 4)
    prompt = np.einsum("yixj,ij->yx", cells, kernel) + np.float32(sizes.mask_bias)
    return Given(whole, _resized(whole, small), prompt.astype(np.float32), not inside.any())


def _resized(plane: np.ndarray, side: int) -> np.ndarray:
    """[h, w] float32 → [side, side], antialiased."""
    return np.asarray(Image.fromarray(plane).resize((side, side), BILINEAR))


def filled(logits: np.ndarray, most: int) -> np.ndarray:
    """A mask's logits [m, m] with its holes of at most so many pixels filled; those of 8 neighbours are one hole.

    An empty mask has none.
    """
    if not most or not (logits > 0).any():
        return logits
    _, marks, stats, _ = cv2.connectedComponentsWithStats((logits <= 0).astype(np.uint8), connectivity=8)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] <= most)
    holes = np.isin(marks, small[small > 0])
    return np.where(holes, np.float32(FILLED), logits)
