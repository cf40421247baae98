"""SAM's image encoder alone, for pipelines that only prompt it."""

from __future__ import annotations

import torch
from torch import nn

from ..embed import Normalise, Upstream
from ..maker import StageMaker
from .sam_blocks import Grid, embed, neck, run_block
from .tensors import features, image


class SamImage(nn.Module):
    """SAM's image encoder, for methods that only refine."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.encoder: Upstream = sam.image_encoder
        self.normalise = Normalise(sam.pixel_mean.flatten().tolist(), sam.pixel_std.flatten().tolist())

    @property
    def grid(self) -> Grid:
        """Rows and columns of tokens."""
        side = self.encoder.img_size // self.encoder.patch_embed.proj.stride[0]
        return side, side

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image [1, 3, S, S] RGB in [0, 255], padded with the mean → features [1, 256, S/16, S/16]."""
        tokens = embed(self.encoder, self.normalise(image))
        for block in self.encoder.blocks:
            tokens = run_block(block, tokens, self.grid)
        return neck(self.encoder, tokens, self.grid)


MAKER = StageMaker(
    module=lambda networks: SamImage(networks.models["sam"]),
    inputs=lambda networks: (image(networks),),
    outputs=lambda networks: (features(networks),),
)
