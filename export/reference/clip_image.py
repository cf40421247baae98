"""`clip_image`: windows to dense features, which say what things mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import nn

from .embed import Normalise, Upstream, resample_positions


class ClipImage(nn.Module):
    """CLIP's image tower with another last block: values, the method's attention, out projection.

    No residual and no MLP in that block; the class token is dropped before it.
    """

    positions: torch.Tensor

    def __init__(self, visual: Upstream, crop: int, attention: nn.Module) -> None:
        super().__init__()
        self.visual: Upstream = visual
        self.attention = attention
        patch = visual.patch_size[0]
        self.grid = (crop // patch, crop // patch)
        self.normalise = Normalise(OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        self.register_buffer("positions", resample_positions(visual.positional_embedding, self.grid))

    def tokens(self, windows: torch.Tensor) -> torch.Tensor:
        """[B, 3, c, c] RGB in [0, 1] → [B, 1 + N, D], the input of the last block."""
        visual = self.visual
        patches = visual.conv1(self.normalise(windows)).flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.expand(patches.shape[0], 1, -1)
        x = visual.ln_pre(torch.cat([class_token, patches], dim=1) + self.positions)
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        return x

    def forward(self, windows: torch.Tensor, *similarity: torch.Tensor) -> torch.Tensor:
        """Windows to features.

        Args:
            windows: [B, 3, c, c] RGB in [0, 1].
            *similarity: what the attention takes beside the values: for `similarity`, DINO's features [B, C, h, w] and
                the mean similarity [B].

        Returns:
            [B, D, h, w], after the out projection.
        """
        block = self.visual.transformer.resblocks[-1]
        x = block.ln_1(self.tokens(windows)[:, 1:])
        weight, bias = block.attn.in_proj_weight.chunk(3)[2], block.attn.in_proj_bias.chunk(3)[2]
        values = F.linear(x, weight, bias).transpose(1, 2).unflatten(2, self.grid)
        mixed = self.attention(values, *similarity)  # [B, D, h, w]
        return block.attn.out_proj(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
