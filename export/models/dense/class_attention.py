"""Attention between classes, at each place by itself: linear in their number, led by the words' embeddings.

CAT-Seg pads the classes to 256 with one learned token. All of those are equal, so their sums are that many times one:
here nothing is padded, and the result is the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .swin import with_guide

TINY = 1e-6


class LinearAttention(nn.Module):
    """Attention with elu + 1 in the softmax's place ("Transformers are RNNs", Katharopoulos et al., 2020)."""

    def __init__(self, width: int, guide: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width + guide, width)
        self.k = nn.Linear(width + guide, width)
        self.v = nn.Linear(width, width)

    def forward(
        self, x: torch.Tensor, guide: torch.Tensor, padding: torch.Tensor, padding_guide: torch.Tensor, count: int
    ) -> torch.Tensor:
        """Mix the classes at each place.

        Args:
            x: [T, N, C], classes, places.
            guide: [T, 1, G].
            padding: [1, 1, C], a further class …
            padding_guide: [1, 1, G], … with its guide …
            count: … that there is so often.
        """
        queries = self._heads(positive(with_guide(self.q, x, guide)))  # [N, H, T, d]
        keys = self._heads(positive(with_guide(self.k, x, guide)))
        more_keys = self._heads(positive(with_guide(self.k, padding, padding_guide)))  # [1, H, 1, d]
        products = keys.transpose(-1, -2) @ self._heads(self.v(x))  # [N, H, d, d]
        products = products + count * (more_keys.transpose(-1, -2) @ self._heads(self.v(padding)))
        sums = keys.sum(dim=2, keepdim=True) + count * more_keys  # [N, H, 1, d]
        weights = (queries * sums).sum(dim=-1, keepdim=True) + TINY
        mixed = (queries @ products) / weights
        return mixed.permute(2, 0, 1, 3).flatten(2)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """[T, N, C] → [N, heads, T, C / heads]."""
        return x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)


def positive(x: torch.Tensor) -> torch.Tensor:
    """elu + 1."""
    return F.elu(x) + 1


class ClassAttention(nn.Module):
    """Classes see each other at every place, or at every place of a map that was made coarser."""

    def __init__(self, width: int, guide: int, heads: int, most: int) -> None:
        super().__init__()
        self.most = most
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, width))
        self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guide))
        self.attention = LinearAttention(width, guide, heads)
        self.MLP = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, guide: torch.Tensor, pooling: int = 1) -> torch.Tensor:
        """Let classes see each other.

        Args:
            x: [T, h, w, C], T no more than `most`.
            guide: [T, 1, G].
            pooling: how many times coarser the map is where they do. CAT-Seg was trained with 2, evaluated with 1.

        Returns:
            [T, h, w, C].
        """
        coarse = x if pooling == 1 else _coarser(x, pooling)
        tokens = coarse.flatten(1, 2)
        padding = self.norm1(self.padding_tokens)
        mixed = self.attention(self.norm1(tokens), guide, padding, self.padding_guidance, self.most - x.shape[0])
        tokens = tokens + mixed
        tokens = tokens + self.MLP(self.norm2(tokens))
        made = tokens.unflatten(1, coarse.shape[1:3])
        return x + (made if pooling == 1 else _finer(made, x.shape[1:3]))


def _coarser(x: torch.Tensor, pooling: int) -> torch.Tensor:
    return F.avg_pool2d(x.permute(0, 3, 1, 2), pooling).permute(0, 2, 3, 1)


def _finer(x: torch.Tensor, hw: torch.Size) -> torch.Tensor:
    planes = F.interpolate(x.permute(0, 3, 1, 2), tuple(hw), mode="bilinear", align_corners=True)
    return planes.permute(0, 2, 3, 1)
