"""A promptable model's image encoder alone, for pipelines that only prompt it and methods that only refine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        self.behind = BEHIND.get(type(sam).__name__, Nothing)(sam)

    @property
    def grid(self) -> Grid:
        """Rows and columns of tokens, of a vision transformer."""
        return grid_of(self.encoder)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """image [1, 3, S, S] RGB in [0, 255], padded with the mean → features [1, 256, g, g], g = S/16 for SAM.

        SAM 2's kin give features of high resolution too, [1, 32, 4g, 4g] and [1, 64, 2g, 2g].
        """
        return self.behind(self.run(self.encoder, self.normalise(image)))


def as_it_is(encoder: Upstream, image: torch.Tensor) -> Any:
    """An encoder whose own forward pass engines run well."""
    return encoder(image)


class Nothing(nn.Module):
    """The encoder's features are those of the photo."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[1, C, g, g] → the same."""
        return (features,)


class HighResolution(nn.Module):
    """SAM 2's: the decoder's convolutions of the finer features, and what is added where there is no memory."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.conv_s0: Upstream = sam.mask_decoder.conv_s0
        self.conv_s1: Upstream = sam.mask_decoder.conv_s1
        self.no_mem_embed = sam.no_mem_embed

    def forward(self, maps: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Features at S/4, S/8 and S/16 → the photo's at S/16, then those at S/4 and S/8."""
        fine, middle, coarse = maps
        return coarse + self.no_mem_embed.view(1, -1, 1, 1), self.conv_s0(fine), self.conv_s1(middle)


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


ENCODERS: dict[str, Callable[[Upstream, torch.Tensor], Any]] = {"ImageEncoderViT": rewired}
"""By the class of the image encoder: how it runs in an engine, on a normalised image. Others run as they are."""

BEHIND: dict[str, type[nn.Module]] = {"Sam2": HighResolution, "VideoSam2": HighResolution}
"""By the class of the model: what makes the photo's features of what the encoder gives. Others need nothing."""

MAKER = StageMaker(
    module=lambda networks: SamImage(networks.models["sam"]),
    inputs=lambda networks: (image(networks),),
    outputs=features,
)
