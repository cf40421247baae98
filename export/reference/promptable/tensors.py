"""Tensors that SAM's stages take or give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ....runtime.pipelines.promptable.stages import FEATURES, HIGH_RES
from ....runtime.stage.contract import TensorSpec
from ..maker import tensor

if TYPE_CHECKING:
    from ..networks import Networks


def image(networks: Networks) -> TensorSpec:
    """The photo in SAM's frame."""
    side = networks.dimensions.sam_side
    return tensor("image", (1, 3, side, side), "image, RGB, y, x", "0 to 255; sam_padding outside the photo")


def features(networks: Networks) -> tuple[TensorSpec, ...]:
    """A photo's features, as the encoder makes them: on the grid, and for some models at higher resolutions."""
    grid, sam = networks.dimensions.sam_grid, networks.models["sam"]
    first = tensor("features", (1, sam.prompt_encoder.embed_dim, grid, grid), "image, channel, y, x")
    sizes = zip(HIGH_RES, getattr(sam, "high_res_channels", ()), (4 * grid, 2 * grid), strict=False)
    finer = (tensor(name, (1, channels, side, side), "image, channel, y, x") for name, channels, side in sizes)
    return first, *finer


def taken(networks: Networks) -> tuple[TensorSpec, ...]:
    """The same as decoders take them."""
    return tuple(msgspec.structs.replace(spec, name=FEATURES[spec.name]) for spec in features(networks))
