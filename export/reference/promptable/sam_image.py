"""A promptable model's image encoder alone, for pipelines that only prompt it and methods that only refine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..embed import Normalise, Upstream
from ..maker import StageMaker
from .sam_blocks import Grid, embed, neck, run_block
from .tensors import features, image


class SamImage(nn.Module):
    """An image encoder on plain pixels."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.encoder: Upstream = sam.image_encoder
        self.normalise = Normalise(sam.pixel_mean.flatten().tolist(), sam.pixel_std.flatten().tolist())
        self.run = ENCODERS.get(type(sam.image_encoder).__name__, as_it_is)

    @property
    def grid(self) -> Grid:
        """Rows and columns of tokens, of a vision transformer."""
        return grid_of(self.encoder)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image [1, 3, S, S] RGB in [0, 255], padded with the mean → features [1, 256, g, g]; g = S/16 for SAM."""
        return self.run(self.encoder, self.normalise(image))


def as_it_is(encoder: Upstream, image: torch.Tensor) -> torch.Tensor:
    """An encoder whose own forward pass engines run well."""
    features: torch.Tensor = encoder(image)
    return features


def rewired(encoder: Upstream, image: torch.Tensor) -> torch.Tensor:
    """SAM's vision transformer, in less memory than its own forward pass takes."""
    grid = grid_of(encoder)
    tokens = embed(encoder, image)
    for block in encoder.blocks:
        tokens = run_block(block, tokens, grid)
    return neck(encoder, tokens, grid)


def grid_of(encoder: Upstream) -> Grid:
    """Rows and columns of the tokens of SAM's vision transformer."""
    side = encoder.img_size // encoder.patch_embed.proj.stride[0]
    return side, side


ENCODERS: dict[str, Callable[[Upstream, torch.Tensor], torch.Tensor]] = {"ImageEncoderViT": rewired}
"""By the class of the image encoder: how it runs in an engine, on a normalised image. Others run as they are."""


MAKER = StageMaker(
    module=lambda networks: SamImage(networks.models["sam"]),
    inputs=lambda networks: (image(networks),),
    outputs=lambda networks: (features(networks),),
)
