"""SAM's image encoder on a photo: what it is fed, and how it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ...backends.base import Session
from ...geometry.dimensions import SamDimensions
from ...geometry.sam_frame import SamFrame
from ...photo.reading import resize
from ...reporting import Clock
from ...stage.arrays import Array

BILINEAR = Image.Resampling.BILINEAR
"""Pillow's, which averages over what falls together when it makes smaller."""


def sam_image(photo: np.ndarray, frame: SamFrame, dimensions: SamDimensions) -> np.ndarray:
    """The photo in SAM's input.

    Two resizes, as in Trident's code: OpenCV's bilinear to the padded size, then Pillow's antialiased bilinear, which
    is SAM's own transform.

    Args:
        photo: [H, W, 3] uint8 RGB.
        frame: how it lies in SAM's input.
        dimensions: SAM's sizes.

    Returns:
        [1, 3, side, side] float32 RGB in [0, 255].
    """
    (h, w), side = frame.image_hw, dimensions.sam_side
    seen = np.ascontiguousarray(resize(photo, frame.padded_hw)[:, slice(*frame.columns)])
    shrink = _resized_exactly if dimensions.sam_stretch else _resized
    image = np.empty((1, 3, side, side), np.float32)
    image[:] = np.asarray(dimensions.sam_padding, np.float32).reshape(1, 3, 1, 1)
    image[0, :, :h, :w] = shrink(seen, (w, h))
    return image


def _resized(photo: np.ndarray, wh: tuple[int, int]) -> np.ndarray:
    """SAM's transform, which rounds to whole values: [3, h, w] uint8."""
    return np.asarray(Image.fromarray(photo).resize(wh, BILINEAR)).transpose(2, 0, 1)


def _resized_exactly(photo: np.ndarray, wh: tuple[int, int]) -> np.ndarray:
    """SAM 2's transform, the same without rounding: [3, h, w] float32."""
    planes = photo.transpose(2, 0, 1).astype(np.float32)
    return np.stack([np.asarray(Image.fromarray(plane).resize(wh, BILINEAR)) for plane in planes])


def encode_sam(
    photo: np.ndarray, frame: SamFrame, encoder: Session, dimensions: SamDimensions, parameters: Any, clock: Clock
) -> dict[str, Array]:
    """Run SAM's encoder, with or without an affinity, as its contract says; what it makes stays where it is made.

    Args:
        photo: [H, W, 3] uint8 RGB.
        frame: how it lies in SAM's input.
        encoder: the engine. What it takes beside the image and the valid tokens are parameters of those names.
        dimensions: SAM's sizes.
        parameters: the parameters in force.
        clock: gets the time of every step.
    """
    with clock("sam_image"):
        image = sam_image(photo, frame, dimensions)
    made_here = {"image": image, "valid_tokens": valid_tokens(frame, dimensions.sam_grid)}
    feeds: dict[str, Array] = {
        spec.name: made_here[spec.name]
        if spec.name in made_here
        else np.array(getattr(parameters, spec.name), spec.dtype)
        for spec in encoder.contract.inputs
    }
    with clock(encoder.contract.stage):
        made = {name: encoder.empty(name) for name in encoder.contract.output_names}
        encoder.run(feeds, made)
    return made


def valid_tokens(frame: SamFrame, grid: int) -> np.ndarray:
    """[grid²] float32: 1 for SAM's tokens that lie inside the photo, 0 for padding."""
    mask = np.zeros((grid, grid), np.float32)
    mask[: frame.tokens_hw[0], : frame.tokens_hw[1]] = 1
    return mask.reshape(-1)
