"""Attention within windows of the map, for each class by itself: a pair of Swin's blocks, led by the photo's features.

Names as in CAT-Seg's checkpoints. "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation", Cho et al.,
2024, after "Swin Transformer", Liu et al., 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

BARRED = -100.0
"""Swin's mask: added where a place of the window comes from the map's other side."""


class Mlp(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[…, C] → the same."""
        return self.fc2(F.gelu(self.fc1(x)))


class WindowAttention(nn.Module):
    """Attention within windows: queries and keys see the guide too, values do not."""

    def __init__(self, width: int, guide: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width + guide, width)
        self.k = nn.Linear(width + guide, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, guide: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mix the places of each window.

        Args:
            x: [T, W, n, C], classes, windows, places.
            guide: [1, W, n, G], the same for all classes.
            mask: [W, 1, n, n], added to the scores.
        """
        queries = self._heads(with_guide(self.q, x, guide))
        keys = self._heads(with_guide(self.k, x, guide))
        scores = (queries * (queries.shape[-1] ** -0.5)) @ keys.transpose(-1, -2) + mask
        mixed = scores.softmax(dim=-1) @ self._heads(self.v(x))
        return self.proj(mixed.transpose(2, 3).flatten(3))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """[T, W, n, C] → [T, W, heads, n, C / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(2, 3)


def with_guide(layer: nn.Linear, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """A layer on [x, guide]; the guide's part is computed once where it is the same along an axis that x has longer."""
    width = x.shape[-1]
    return F.linear(x, layer.weight[:, :width]) + F.linear(guide, layer.weight[:, width:], layer.bias)


class SwinBlock(nn.Module):
    """One of Swin's blocks."""

    mask: torch.Tensor

    def __init__(self, width: int, guide: int, heads: int, grid: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, guide, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.register_buffer("mask", shifted_mask(grid, window, shift)[:, None], persistent=False)

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """x [T, h, w, C], guide [1, h, w, G] → [T, h, w, C]."""
        mixed = self.attn(self._cut(self.norm1(x)), self._cut(guide), self.mask)
        x = x + self._joined(mixed, x.shape[1])
        return x + self.mlp(self.norm2(x))

    def _cut(self, x: torch.Tensor) -> torch.Tensor:
        """[T, h, w, C] → [T, W, n, C], windows row by row, after a shift of the map."""
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        count = x.shape[1] // self.window
        parts = x.unflatten(2, (count, self.window)).unflatten(1, (count, self.window))
        return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _joined(self, x: torch.Tensor, side: int) -> torch.Tensor:
        """The way back."""
        count = side // self.window
        parts = x.unflatten(1, (count, count)).unflatten(3, (self.window, self.window))
        x = parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


def shifted_mask(grid: int, window: int, shift: int) -> torch.Tensor:
    """[W, n, n]: BARRED between places of a window that the shift brought together from opposite sides of the map."""
    side = torch.zeros(grid, dtype=torch.long)
    side[grid - window : grid - shift], side[grid - shift :] = 1, 2
    if not shift:
        side[:] = 0
    region = 3 * side[:, None] + side
    count = grid // window
    parts = region.view(count, window, count, window).transpose(1, 2).reshape(count**2, window**2)
    return BARRED * (parts[:, :, None] != parts[:, None]).float()


class SwinPair(nn.Module):
    """Two blocks, of which the second's windows are shifted by half a window."""

    def __init__(self, width: int, guide: int, heads: int, grid: int, window: int) -> None:
        super().__init__()
        self.block_1 = SwinBlock(width, guide, heads, grid, window, 0)
        self.block_2 = SwinBlock(width, guide, heads, grid, window, window // 2)
        self.guidance_norm = nn.LayerNorm(guide)

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """x [T, h, w, C], guide [1, h, w, G] → [T, h, w, C]."""
        guide = self.guidance_norm(guide)
        return self.block_2(self.block_1(x, guide), guide)
