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


def sam_image(photo: np.ndarray, frame: SamFrame, side: int, padding: tuple[float, float, float]) -> np.ndarray:
    """The photo in SAM's input.

    Two resizes, as in Trident's code: OpenCV's bilinear to the padded size, then Pillow's antialiased bilinear, which
    is SAM's own transform.

    Args:
        photo: [H, W, 3] uint8 RGB.
        frame: how it lies in SAM's input.
        side: side of SAM's input.
        padding: the RGB value, 0 to 255, that the engine's normalisation maps to zero.

    Returns:
        [1, 3, side, side] float32 RGB in [0, 255].
    """
    h, w = frame.image_hw
    seen = np.ascontiguousarray(resize(photo, frame.padded_hw)[:, slice(*frame.columns)])
    pillow = Image.fromarray(seen).resize((w, h), Image.Resampling.BILINEAR)
    image = np.empty((1, 3, side, side), np.float32)
    image[:] = np.asarray(padding, np.float32).reshape(1, 3, 1, 1)
    image[0, :, :h, :w] = np.asarray(pillow).transpose(2, 0, 1)
    return image


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
        image = sam_image(photo, frame, dimensions.sam_side, dimensions.sam_padding)
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
