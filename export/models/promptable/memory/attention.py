"""A frame reads the memory: attention over what earlier frames and the object's pointers left.

Ravi et al., SAM 2: Segment Anything in Images and Videos, ICLR 2025, section 4 and appendix D. The names are those of
`sam2.1_hiera_tiny.pt`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .positions import Rotation
from .sizes import MemorySizes


class Attention(nn.Module):
    """Attention of one head, its queries and the keys of a grid turned by their places."""

    def __init__(self, width: int, keys: int, side: int, placed: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(keys, width)
        self.v_proj = nn.Linear(keys, width)
        self.out_proj = nn.Linear(width, width)
        self.rotation, self.rotation_of_keys = Rotation(width, side), Rotation(width, placed)

    def turned(self, keys: torch.Tensor) -> torch.Tensor:
        """Keys [..., K, C], of which the last lie on a grid and turn."""
        free = keys.shape[-2] - self.rotation_of_keys.cos.shape[0]
        if not free:
            return self.rotation_of_keys(keys)
        return torch.cat([keys[..., :free, :], self.rotation_of_keys(keys[..., free:, :])], dim=-2)

    def attend(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Turned queries [O, T, C] and keys [O, K, C] with values [O, K, C] → [O, T, C]."""
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(1, 2)
        out: torch.Tensor = self.out_proj(scores.softmax(dim=-1) @ values)
        return out


class MemoryLayer(nn.Module):
    """A layer: the frame's tokens attend to each other, then to the memory, then a perceptron."""

    def __init__(self, sizes: MemorySizes) -> None:
        super().__init__()
        width = sizes.channels
        self.self_attn = Attention(width, width, sizes.grid, sizes.grid)
        self.cross_attn_image = Attention(width, sizes.width, sizes.grid, sizes.placed)
        self.linear1 = nn.Linear(width, sizes.mlp)
        self.linear2 = nn.Linear(sizes.mlp, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(
        self, tokens: torch.Tensor, memory: torch.Tensor, places: torch.Tensor, read: torch.Tensor, told: torch.Tensor
    ) -> torch.Tensor:
        """One layer.

        Args:
            tokens: [O or 1, g², C], the frame's.
            memory: [O, M, T, D], of frames.
            places: [1, M, T, D], where and when each of its tokens was.
            read: [O, L, D], the pointers' tokens.
            told: [1, L, D], when each of them was.

        Returns:
            [O, g², C].
        """
        own, cross = self.self_attn, self.cross_attn_image
        normed = self.norm1(tokens)
        queries, keys = own.rotation(own.q_proj(normed)), own.turned(own.k_proj(normed))
        tokens = tokens + own.attend(queries, keys, own.v_proj(normed))
        queries = cross.rotation(cross.q_proj(self.norm2(tokens)))
        keys = cross.turned(cross.k_proj(memory + places)).flatten(1, 2)
        keys = torch.cat([keys, cross.k_proj(read + told)], dim=1)
        values = cross.v_proj(torch.cat([memory.flatten(1, 2), read], dim=1))
        tokens = tokens + cross.attend(queries, keys, values)
        out: torch.Tensor = tokens + self.linear2(self.linear1(self.norm3(tokens)).relu())
        return out


class MemoryAttention(nn.Module):
    """All layers, and a norm."""

    def __init__(self, sizes: MemorySizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryLayer(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.channels)

    def forward(self, tokens: torch.Tensor, *memory: torch.Tensor) -> torch.Tensor:
        """As `MemoryLayer`."""
        for layer in self.layers:
            tokens = layer(tokens, *memory)
        normed: torch.Tensor = self.norm(tokens)
        return normed


def in_halves(attention: MemoryAttention) -> MemoryAttention:
    """The same attention, the projections' rows in place reordered so that pairs stand half the channels apart."""
    for part in attention.modules():
        if isinstance(part, Attention) and part.rotation.paired:
            for projection in (part.q_proj, part.k_proj):
                rows = torch.cat([torch.arange(first, projection.out_features, 2) for first in (0, 1)])
                projection.weight.data = projection.weight.data[rows]
                projection.bias.data = projection.bias.data[rows]
            part.rotation.paired = part.rotation_of_keys.paired = False
    return attention


def rows_of(table: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
    """Rows of the table of times [F, D] for ages [M] int32: row a − 1 for age a, the last for age 0."""
    last = table.shape[0] - 1
    return F.embedding(torch.where(ages > 0, ages - 1, last).long(), table)
