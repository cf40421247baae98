"""Encodings of places and of times, and rotary ones in halves."""

from __future__ import annotations

import math

import torch
from torch import nn

BASE = 10_000.0
"""Of all encodings' periods."""


def sine_places(channels: int, side: int) -> torch.Tensor:
    """Where each cell of a grid lies: [1, channels, side, side], rows first, then columns.

    As in DETR's encoding with normalised places (Carion et al., ECCV 2020): counted from 1, a full turn over the side.
    """
    half = channels // 2
    places = torch.arange(1, side + 1, dtype=torch.float32)
    periods = BASE ** (2 * (torch.arange(half) // 2).float() / half)
    angles = (places / (side + 1e-6) * 2 * math.pi)[:, None] / periods
    line = torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1).T  # [half, side]
    rows = line[:, :, None].expand(-1, -1, side)
    columns = line[:, None, :].expand(-1, side, -1)
    return torch.cat([rows, columns])[None].contiguous()


class SineTimes(nn.Module):
    """Distances in time as sines and cosines: [P] → [P, channels]."""

    periods: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.register_buffer("periods", BASE ** (2 * (torch.arange(half) // 2).float() / half), persistent=False)

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """[P] float32 → [P, channels], all sines before all cosines."""
        angles = distances[:, None] / self.periods
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Rotation(nn.Module):
    """Rotary places of a grid, real-valued: a token's channels turn by its column and then by its row.

    Attributes:
        paired: whether channels that turn together stand side by side, as in checkpoints. Engines have the rows of the
            projections reordered so that they stand half the channels apart: no strided reads, the same products.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.paired = True
        speeds = BASE ** -(torch.arange(0, channels // 2, 2).float() / (channels // 2))
        y, x = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
        angles = torch.cat([place.reshape(-1, 1) * speeds for place in (x, y)], dim=1)  # [T, channels / 2]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[..., T, channels] → the same, turned."""
        if self.paired:
            first, second = tokens.unflatten(-1, (-1, 2)).unbind(-1)
            return torch.stack(self._turn(first, second), dim=-1).flatten(-2)
        return torch.cat(self._turn(*tokens.chunk(2, dim=-1)), dim=-1)

    def _turn(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return first * self.cos - second * self.sin, first * self.sin + second * self.cos
