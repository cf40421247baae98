"""Common ground of the vision transformers: normalised pixels in, position embeddings for another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Upstream = Any
"""A module of open_clip, timm or segment_anything, none of which declares the types of its parts."""


class Normalise(nn.Module):
    """(x − mean) / std per channel, so that engines take plain pixels."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] → the same, normalised."""
        return (images - self.mean) / self.std


def resample_positions(positions: torch.Tensor, grid: tuple[int, int], prefix: int = 1) -> torch.Tensor:
    """Position embeddings for another grid, by the rule of the original DINO code.

    Bicubic with the scale factor (n + 0.1)/√N given, not recomputed; embeddings that fit are left alone.

    Args:
        positions: [prefix + N, D], N a square number.
        grid: rows and columns wanted.
        prefix: how many come first that belong to no place, such as the class token's.

    Returns:
        [prefix + rows · columns, D].
    """
    side = round((len(positions) - prefix) ** 0.5)
    if grid == (side, side):
        return positions
    patches = positions[prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = [(n + 0.1) / side for n in grid]
    resampled = F.interpolate(patches, scale_factor=scale, mode="bicubic")
    assert tuple(resampled.shape[2:]) == grid, "the 0.1 is there to make the rounding come out"
    return torch.cat([positions[:prefix], resampled.flatten(2)[0].T])
