"""A user's prompts about objects, checked and laid out as the `sam_prompt_decoder` engine takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import PromptError, shown
from ..geometry.sam_frame import SamFrame
from ..geometry.sizes import HW

PAD, TOP_LEFT, BOTTOM_RIGHT = -1, 2, 3
"""Labels of SAM's points beside 0 (background) and 1 (foreground)."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt about one object; at least one of points, box and mask.

    Attributes:
        points: [N, 2], x y in photo pixels, inside the photo or on its edge.
        labels: [N], 1 for a point on the object, 0 for one off it; None means that all are on it.
        box: [4], x₀ y₀ x₁ y₁ in photo pixels, with an area; it may stick out of the photo, not lie beside it.
        mask: [m, m] low-resolution logits of a round before (`PromptedMasks.low_res_logits[i]`).
    """

    points: Any = None
    labels: Any = None
    box: Any = None
    mask: Any = None


def prompt_feeds(prompts: Sequence[Prompt], photo_hw: HW, frame: SamFrame) -> dict[str, np.ndarray]:
    """Prompts as the engine takes them: boxes as two points, the shorter lists of points padded.

    Args:
        prompts: at least one.
        photo_hw: the photo's size.
        frame: how it lies in SAM's input.

    Returns:
        points [R, N, 2] float32 in SAM's pixels; labels [R, N] int32, -1 for padding; mask_prompts [R, 1, m, m]
        float32; has_mask [R] bool.

    Raises:
        PromptError: a prompt is empty, or something in it has a wrong shape or value.
    """
    side = frame.mask_rows.shape[1]
    scale_xy = np.array([frame.valid_hw[1] / photo_hw[1], frame.valid_hw[0] / photo_hw[0]])
    parsed = [_points_of(prompt, photo_hw) for prompt in prompts]
    masks = [_mask_of(prompt, side) for prompt in prompts]
    longest = max(1, *(len(kinds) for _, kinds in parsed))
    points = np.zeros((len(prompts), longest, 2), np.float32)
    labels = np.full((len(prompts), longest), PAD, np.int32)
    for index, (places, kinds) in enumerate(parsed):
        points[index, : len(kinds)] = places * scale_xy
        labels[index, : len(kinds)] = kinds
    return {
        "points": points,
        "labels": labels,
        "mask_prompts": np.stack([np.zeros((1, side, side), np.float32) if m is None else m for m in masks]),
        "has_mask": np.array([m is not None for m in masks]),
    }


def _points_of(prompt: Prompt, photo_hw: HW) -> tuple[np.ndarray, np.ndarray]:
    """A prompt's points [N, 2] float64 in photo pixels, a box's corners behind them, and their labels [N]."""
    if prompt.points is None and prompt.labels is not None:
        raise PromptError("the prompt has labels but no points")
    if prompt.points is None and prompt.box is None and prompt.mask is None:
        raise PromptError("the prompt is empty; give points, a box or a mask")
    points = _numbers(prompt.points, "points", (None, 2)) if prompt.points is not None else np.zeros((0, 2))
    if prompt.points is not None and not len(points):
        raise PromptError("the list of points is empty; leave it out, or give x and y of at least one")
    if len(out := points[((points < 0) | (points > photo_hw[::-1])).any(axis=1)]):
        raise PromptError(
            f"the point {_told(out[0])} lies outside the photo, which is {photo_hw[1]} wide and {photo_hw[0]} high; "
            f"points are x, y in the photo's pixels"
        )
    labels = np.ones(len(points)) if prompt.labels is None else _numbers(prompt.labels, "labels", (len(points),))
    if not np.isin(labels, (0, 1)).all():
        raise PromptError(f"labels are 1 (on the object) or 0 (off it), got {shown(labels.tolist())}")
    if prompt.box is None:
        return points, labels
    box = _numbers(prompt.box, "box", (4,))
    _check_box(box, photo_hw)
    return np.concatenate([points, box.reshape(2, 2)]), np.concatenate([labels, [TOP_LEFT, BOTTOM_RIGHT]])


def _check_box(box: np.ndarray, photo_hw: HW) -> None:
    """Refuse a box without area, and one that lies beside the photo. One that sticks out is what detectors give."""
    if box[0] >= box[2] or box[1] >= box[3]:
        raise PromptError(
            f"a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {_told(box)}, which has no area "
            f"(the photo is {photo_hw[1]} wide and {photo_hw[0]} high)"
        )
    if box[2] <= 0 or box[3] <= 0 or box[0] >= photo_hw[1] or box[1] >= photo_hw[0]:
        raise PromptError(
            f"the box {_told(box)} lies outside the photo, which is {photo_hw[1]} wide and {photo_hw[0]} high"
        )


def _told(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _mask_of(prompt: Prompt, side: int) -> np.ndarray | None:
    """A prompt's mask, [1, side, side] float32; None without one."""
    if prompt.mask is None:
        return None
    mask = as_array(prompt.mask, "mask")
    squeezed = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    if squeezed.dtype.kind != "f":
        raise PromptError(
            f"a mask prompt is low-resolution logits (low_res_logits[i] of an answer), got an array of {mask.dtype}"
        )
    return _numbers(squeezed, "mask", (side, side)).astype(np.float32)[None]


def as_array(values: Any, what: str) -> np.ndarray:
    """Values as an array.

    Raises:
        PromptError: they are none.
    """
    try:
        return np.asarray(values)
    except Exception as error:  # likewise
        raise PromptError(f"{what}: expected an array of numbers, got {shown(values)}") from error


def _numbers(values: Any, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Values as float64, of a shape in which None stands for any length.

    Raises:
        PromptError: they are no numbers, not finite, or of another shape.
    """
    try:
        array = np.asarray(values, np.float64)
    except Exception as error:  # an object's own methods may raise anything
        raise PromptError(f"{what}: expected numbers, got {shown(values)}") from error
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits:
        told = [("N" if n is None else n) for n in shape]
        raise PromptError(f"{what}: expected shape {told}, got {list(array.shape)}".replace("'", ""))
    if not np.isfinite(array).all():
        raise PromptError(f"{what}: there is NaN or infinity in {shown(array.tolist())}")
    return array
