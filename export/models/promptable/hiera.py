"""Hiera, SAM 2's image encoder: attention in windows at four sizes, global in a few blocks.

Ryali et al., Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles, ICML 2023; Ravi et al., SAM 2:
Segment Anything in Images and Videos, 2024. The names are those of `sam2.1_hiera_tiny.pt`. All norms have an epsilon of
1e-6: with PyTorch's own, 1e-5, a checkpoint loads without a word and gives other features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from .efficientvit import Cubic
from .tiny_vit import window_places

EPS = 1e-6
"""Of every norm."""


class HieraSizes(NamedTuple):
    """Sizes of a Hiera; those of SAM 2.1 tiny by default."""

    side: int = 1024
    """Side of the image, in pixels; the first stage works at a quarter of it, each other one at half the one before."""
    width: int = 96
    """Of the first stage; each stage doubles it, and the heads."""
    heads: int = 1
    depths: tuple[int, ...] = (1, 2, 7, 2)
    everywhere: tuple[int, ...] = (5, 7, 9)
    """Blocks whose attention is global, counted through all stages."""
    windows: tuple[int, ...] = (8, 4, 14, 7)
    """Sides of the windows by stage, in tokens; a stage's first block has that of the stage before."""
    background: int = 7
    """Side of the grid of positions that is enlarged to the image's."""


class BlockSizes(NamedTuple):
    """Sizes of a block."""

    inputs: int
    outputs: int
    heads: int
    grid: int
    """Side of the grid of tokens that it takes."""
    window: int
    """Side of its windows; that of the grid where attention is global."""
    pools: bool
    """Whether it gives half the grid."""


class Perceptron(nn.Module):
    """A block's MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, width)])
        self.act = nn.GELU()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[1, N, C] → the same."""
        return self.layers[1](self.act(self.layers[0](tokens)))


class WindowedAttention(nn.Module):
    """Attention within windows, whose queries may be pooled. What lies beyond the grid is 0, and takes part."""

    there: torch.Tensor
    back: torch.Tensor

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.qkv = nn.Linear(sizes.inputs, 3 * sizes.outputs)
        self.proj = nn.Linear(sizes.outputs, sizes.outputs)
        step = 1 + sizes.pools
        there, _ = window_places(sizes.grid, sizes.window)
        _, back = window_places(sizes.grid // step, sizes.window // step)
        self.register_buffer("there", there, persistent=False)
        self.register_buffer("back", back, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[1, N, C] → [1, N', C']."""
        grid, window = self.sizes.grid, self.sizes.window
        padded = torch.cat([tokens[0], tokens.new_zeros(1, tokens.shape[2])]) if grid % window else tokens[0]
        windows = padded.index_select(0, self.there).unflatten(0, (-1, window * window))  # [windows, side², C]
        queries, keys, values = self.qkv(windows).unflatten(2, (3, -1)).unbind(2)
        if self.sizes.pools:
            queries = pooled(queries, window)
        queries, keys, values = (self._heads(x) for x in (queries, keys, values))
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)
        attended = (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)
        return self.proj(attended.flatten(0, 1).index_select(0, self.back))[None]

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """[windows, n, C] → [windows, heads, n, d]."""
        return x.unflatten(2, (self.sizes.heads, -1)).transpose(1, 2)


def pooled(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """The largest values of 2 × 2 tokens: [B, side², C] → [B, (side/2)², C]."""
    half = side // 2
    return tokens.unflatten(1, (half, 2, half, 2)).amax(dim=(2, 4)).flatten(1, 2)


class Block(nn.Module):
    """Attention and an MLP, each with a residual; a block that widens projects its residual."""

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.norm1 = nn.LayerNorm(sizes.inputs, eps=EPS)
        self.attn = WindowedAttention(sizes)
        self.norm2 = nn.LayerNorm(sizes.outputs, eps=EPS)
        self.mlp = Perceptron(sizes.outputs)
        if sizes.inputs != sizes.outputs:
            self.proj = nn.Linear(sizes.inputs, sizes.outputs)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[1, N, C] → [1, N', C']."""
        normed = self.norm1(tokens)
        kept = self.proj(normed) if hasattr(self, "proj") else tokens
        if self.sizes.pools:
            kept = pooled(kept, self.sizes.grid)
        tokens = kept + self.attn(normed)
        return tokens + self.mlp(self.norm2(tokens))


class Patches(nn.Module):
    """7 × 7 pixels at every fourth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 7, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[1, 3, S, S] → [1, C, S/4, S/4]."""
        patches: torch.Tensor = self.proj(image)
        return patches


class Hiera(nn.Module):
    """The image encoder without its neck.

    Attributes:
        widths: of its stages, fine to coarse.
    """

    def __init__(self, sizes: HieraSizes = HieraSizes()) -> None:  # noqa: B008 (it cannot be changed)
        super().__init__()
        self.widths = tuple(sizes.width << stage for stage in range(len(sizes.depths)))
        self.ends = [sum(sizes.depths[: stage + 1]) - 1 for stage in range(len(sizes.depths))]
        self.patch_embed = Patches(sizes.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.width, sizes.background, sizes.background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, sizes.width, sizes.windows[0], sizes.windows[0]))
        self.enlarge = Cubic(sizes.background, sizes.side // 4)
        self.blocks = nn.ModuleList(Block(each) for each in _blocks(sizes))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """A normalised image [1, 3, S, S] to the stages' outputs, at S/4, S/8, S/16 and S/32."""
        x = self.patch_embed(image) + self.positions(image.shape[2] // 4)
        tokens, outputs = x.flatten(2).transpose(1, 2), []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.ends:
                side = round(tokens.shape[1] ** 0.5)
                outputs.append(tokens.transpose(1, 2).unflatten(2, (side, side)))
        return outputs

    def positions(self, side: int) -> torch.Tensor:
        """[1, C, side, side]: a coarse grid enlarged, and a window's positions repeated."""
        times = side // self.pos_embed_window.shape[2]
        positions: torch.Tensor = self.enlarge(self.pos_embed) + self.pos_embed_window.tile(1, 1, times, times)
        return positions


def _blocks(sizes: HieraSizes) -> Iterator[BlockSizes]:
    """All blocks of all stages; the first of every stage but the first widens and pools."""
    grid, index, before = sizes.side // 4, 0, sizes.windows[0]
    for stage, depth in enumerate(sizes.depths):
        for place in range(depth):
            steps = place == 0 and stage > 0
            window = before if place == 0 else sizes.windows[stage]
            if index in sizes.everywhere:
                window = grid
            width = sizes.width << stage
            yield BlockSizes(width >> steps, width, sizes.heads << stage, grid, window, steps)
            grid, index = grid >> steps, index + 1
        before = sizes.windows[stage]
