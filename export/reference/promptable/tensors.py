"""Tensors that SAM's stages take or give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....runtime.stage.contract import TensorSpec
from ..maker import tensor

if TYPE_CHECKING:
    from ..networks import Networks


def image(networks: Networks) -> TensorSpec:
    """The photo in SAM's frame."""
    side = networks.dimensions.sam_side
    return tensor("image", (1, 3, side, side), "image, RGB, y, x", "0 to 255; sam_padding outside the photo")


def features(networks: Networks, name: str = "features") -> TensorSpec:
    """SAM's features of a photo."""
    grid, channels = networks.dimensions.sam_grid, networks.models["sam"].prompt_encoder.embed_dim
    return tensor(name, (1, channels, grid, grid), "image, channel, y, x")
