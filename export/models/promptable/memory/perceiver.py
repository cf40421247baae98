"""EdgeTAM's memory made small: a few latents read a frame's memory, some all of it, the others a window each.

Zhou et al., EdgeTAM: On-Device Track Anything Model, CVPR 2025, section 3.2. The names are those of `edgetam.pt`.
"""

from __future__ import annotations

import torch
from torch import nn

from .positions import sine_places
from .sizes import MemorySizes


class Products(nn.Module):
    """Attention of one head without biases; keys and values come of one projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def attend(self, asking: torch.Tensor, asked: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """[..., L, D] and [..., K, D], which keys and values may have places [K, D] added to → [..., L, D]."""
        keys, values = self.to_kv(asked).chunk(2, dim=-1)
        if places is not None:
            keys, values = keys + places, values + places
        queries = self.to_q(asking) * asking.shape[-1] ** -0.5
        out: torch.Tensor = self.to_out((queries @ keys.transpose(-2, -1)).softmax(dim=-1) @ values)
        return out


class CrossAttention(Products):
    """Latents read a memory."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm_x, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, latents: torch.Tensor, memory: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        """[..., L, D] and [..., K, D] → [..., L, D]."""
        return self.attend(self.norm_latents(latents), self.norm_x(memory), places)


class SelfAttention(Products):
    """Latents read each other."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """[..., L, D] → the same."""
        normed = self.norm(latents)
        return self.attend(normed, normed)


def perceptron(width: int) -> nn.Sequential:
    """A norm, and two layers without biases."""
    wide = 4 * width
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, wide, bias=False), nn.GELU(), nn.Linear(wide, width, bias=False)
    )


class PerceiverLayer(nn.Module):
    """A layer: latents read the memory, then each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.ff = CrossAttention(width), perceptron(width)
        self.self_attn, self.self_ff = SelfAttention(width), perceptron(width)

    def forward(self, latents: torch.Tensor, memory: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        """As `CrossAttention`."""
        latents = latents + self.attn(latents, memory, places)
        latents = latents + self.ff(latents)
        latents = latents + self.self_attn(latents)
        out: torch.Tensor = latents + self.self_ff(latents)
        return out


class Perceiver(nn.Module):
    """A memory's grid to few tokens, by the same layers twice.

    Latents of the whole read all of the grid, with its places. Latents of windows read one window each, and never each
    other.
    """

    places: torch.Tensor

    def __init__(self, sizes: MemorySizes) -> None:
        super().__init__()
        self.windows, width = sizes.windows, sizes.width
        self.latents = nn.Parameter(torch.zeros(sizes.latents, width))
        self.latents_2d = nn.Parameter(torch.zeros(sizes.windows**2, width))
        self.layers = nn.ModuleList([PerceiverLayer(width), PerceiverLayer(width)])
        self.norm = nn.LayerNorm(width)
        places = sine_places(width, sizes.grid).flatten(2).transpose(1, 2)  # [1, g², D]
        self.register_buffer("places", places, persistent=False)

    def forward(self, memory: torch.Tensor) -> torch.Tensor:
        """[O, D, g, g] → [O, L + w², D]: the latents of the whole, then those of w × w windows, row by row."""
        whole = self._read(self.latents[None], memory.flatten(2).transpose(1, 2), self.places)
        count, cells = self.windows, memory.shape[2] // self.windows
        cut = memory.unflatten(3, (count, cells)).unflatten(2, (count, cells))  # [O, D, w, cells, w, cells]
        cut = cut.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)  # [O, w², cells², D]
        apart = self._read(self.latents_2d[None, :, None], cut, None)
        return torch.cat([whole, apart.flatten(1, 2)], dim=1)

    def _read(self, latents: torch.Tensor, memory: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        for layer in self.layers:
            latents = layer(latents, memory, places)
        normed: torch.Tensor = self.norm(latents)
        return normed
