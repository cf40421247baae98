"""Prompts: what SAM's decoder is told about each region."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.sam_frame import SamFrame
from ..geometry.sizes import HW, longest_side_size, round_half_up
from ..recipe.parameters import RefinementParameters
from .regions import Regions


class Prompts(NamedTuple):
    """One prompt per region, in SAM's frame."""

    points: np.ndarray
    """[R, 2] float32, x y in SAM's pixels; foreground."""
    boxes: np.ndarray
    """[R, 4] float32, x₀ y₀ x₁ y₁ in SAM's pixels."""
    class_masks: np.ndarray
    """[K, m, m] float32, a mask prompt for each class that has regions."""
    mask_index: np.ndarray
    """[R] int, which of them belongs to a region."""

    def batches(self, size: int, kinds: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
        """Feeds for the decoder, `size` regions at a time, of the kinds of prompts that it takes."""
        for start in range(0, len(self.points), size):
            part = slice(start, start + size)
            feeds = {"points": self.points[part], "boxes": self.boxes[part]}
            if "mask_prompts" in kinds:
                feeds["mask_prompts"] = self.class_masks[self.mask_index[part], None]
            yield {name: array for name, array in feeds.items() if name in kinds}


def prompt_sizes(photo_hw: HW, half_hw: HW, frame: SamFrame, mask_side: int, as_published: bool) -> tuple[HW, HW]:
    """The sizes that prompts are scaled to: of the half-resolution photo in SAM's frame, and in its mask prompt.

    Trident's code scales prompts as if SAM saw the photo itself; SAM saw it with each side rounded up to a multiple of
    the patch, so its frame differs by up to a patch. `as_published` keeps that.
    """
    if as_published:
        return longest_side_size(half_hw, 4 * mask_side), longest_side_size(photo_hw, mask_side)
    h, w = (max(1, round_half_up(side / 4)) for side in frame.valid_hw)
    return frame.valid_hw, (h, w)


def make_prompts(
    regions: Regions,
    half_plane: Callable[[int], np.ndarray],
    photo_hw: HW,
    frame: SamFrame,
    mask_side: int,
    parameters: RefinementParameters,
) -> Prompts:
    """Point, box and mask of every region.

    Args:
        regions: at half resolution, at least one.
        half_plane: gives a class's probabilities at half resolution, [dh, dw] float32.
        photo_hw: the photo's size.
        frame: how the photo lies in SAM's input, whose side is four times `mask_side`.
        mask_side: m, side of a mask prompt.
        parameters: `region_threshold`, `mask_prompt_scale` and `as_published` are used.
    """
    dh, dw = regions.ids.shape
    frame_hw, mask_hw = prompt_sizes(photo_hw, (dh, dw), frame, mask_side, parameters.as_published)
    scale_xy = np.array([frame_hw[1] / dw, frame_hw[0] / dh])
    classes, mask_index = np.unique(regions.class_index, return_inverse=True)
    return Prompts(
        points=(regions.point_xy * scale_xy).astype(np.float32),
        boxes=(regions.box_xyxy * np.tile(scale_xy, 2)).astype(np.float32),
        class_masks=np.stack([_mask_prompt(half_plane(int(c)), mask_hw, mask_side, parameters) for c in classes]),
        mask_index=mask_index,
    )


def _mask_prompt(probability: np.ndarray, hw: HW, side: int, parameters: RefinementParameters) -> np.ndarray:
    """A class's probabilities above τ_c times α, else 0, at the top left of a [side, side] square of zeros."""
    resized = cv2.resize(probability, hw[::-1], interpolation=cv2.INTER_LINEAR)
    prompt = np.zeros((side, side), np.float32)
    confident = resized > parameters.region_threshold
    prompt[: hw[0], : hw[1]] = np.where(confident, resized * np.float32(parameters.mask_prompt_scale), 0)
    return prompt
