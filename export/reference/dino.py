"""`dino`: windows to unit features, which say what belongs together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from .embed import Normalise, Upstream, resample_positions


class Dino(nn.Module):
    """Patch tokens of a DINO ViT after its final norm, without the class token."""

    positions: torch.Tensor

    def __init__(self, vit: Upstream, crop: int) -> None:
        super().__init__()
        self.vit: Upstream = vit
        patch = vit.patch_embed.patch_size[0]
        self.grid = (crop // patch, crop // patch)
        self.normalise = Normalise(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        self.register_buffer("positions", resample_positions(vit.pos_embed[0], self.grid))

    def tokens(self, windows: torch.Tensor) -> torch.Tensor:
        """[B, 3, c, c] RGB in [0, 1] → [B, h·w, C], not normalised."""
        patches = self.vit.patch_embed.proj(self.normalise(windows)).flatten(2).transpose(1, 2)
        x = torch.cat([self.vit.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        x = self.vit.norm_pre(x + self.positions)
        for block in self.vit.blocks:
            x = block(x)
        tokens: torch.Tensor = self.vit.norm(x)[:, 1:]
        return tokens

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows to features and mean similarities.

        Args:
            windows: [B, 3, c, c] RGB in [0, 1].

        Returns:
            features [B, C, h, w], unit length over C; and per window the mean over all pairs of their cosine
            similarities, [B]: since mean_ij f_i · f_j = ‖mean_i f_i‖², it needs no matrix.
        """
        tokens = F.normalize(self.tokens(windows), dim=-1)
        mean_similarity = tokens.mean(dim=1).square().sum(dim=-1)
        features = tokens.transpose(1, 2).unflatten(2, self.grid)
        return features, mean_similarity
