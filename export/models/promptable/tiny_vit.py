"""TinyViT as MobileSAM has it: convolutions, then windows of attention with a convolution in each block.

Wu et al., TinyViT: Fast Pretraining Distillation for Small Vision Transformers, ECCV 2022; MobileSAM keeps the last
stage at a sixteenth of the image, and puts SAM's neck behind it. The names are those of `mobile_sam.pt`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn


class TinyViTSizes(NamedTuple):
    """Sizes of a TinyViT, by stage; MobileSAM's by default."""

    side: int = 1024
    """Side of the image, in pixels; the first stage works at a quarter of it."""
    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)
    """Sides of the windows, in tokens. The first stage has convolutions alone."""
    strides: tuple[int, ...] = (2, 2, 1)
    """Of the steps between the stages."""
    channels: int = 256
    """Of SAM's features."""
    classes: int = 1000
    """Of the head from pretraining, which nothing uses and the checkpoint holds."""


class ConvNorm(nn.Sequential):
    """A convolution without bias, and its batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(c=convolution, bn=nn.BatchNorm2d(outputs)))


class Convolutions(nn.Module):
    """A block of the first stage: wide, depthwise, narrow, and the residual before the last GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, 4 * width)
        self.conv2 = ConvNorm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvNorm(4 * width, width)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        wide = self.act(self.conv2(self.act(self.conv1(x))))
        return self.act(x + self.conv3(wide))


class Merging(nn.Module):
    """The step between two stages: another width, perhaps half the grid."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → [1, C', h/s, w/s]."""
        return self.conv3(self.act(self.conv2(self.act(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Attention within windows, with a learnt bias for each distance in rows and columns.

    Windows at the right and below reach over the grid. What lies there is 0 before the norm, so it is the norm's bias
    behind it, and takes part.
    """

    distances: torch.Tensor
    there: torch.Tensor
    back: torch.Tensor

    def __init__(self, width: int, heads: int, grid: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))
        there, back = window_places(grid, side)
        for name, indices in {"distances": distances(side), "there": there, "back": back}.items():
            self.register_buffer(name, indices, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[1, N, C] → the same."""
        padded = torch.cat([self.norm(tokens)[0], self.norm.bias[None]])
        windows = padded.index_select(0, self.there).unflatten(0, (-1, self.side**2))  # [windows, side², C]
        heads = self.qkv(windows).unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        queries, keys, values = heads.unbind(0)  # [windows, heads, side², d]
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)
        attended = (scores + self.attention_biases[:, self.distances]).softmax(dim=-1) @ values
        joined = attended.transpose(1, 2).flatten(2)
        return self.proj(joined.flatten(0, 1).index_select(0, self.back))[None]


def distances(side: int) -> torch.Tensor:
    """[side², side²]: the number of each pair's distance, rows first."""
    place = torch.arange(side)
    apart = (place[:, None] - place).abs()
    return (apart[:, None, :, None] * side + apart[None, :, None, :]).flatten(2).flatten(0, 1)


def window_places(grid: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which token lies where in the windows, grid² where none does; and where each token lies among these places."""
    across = -(-grid // side)
    places = torch.full((across * side, across * side), grid * grid)
    places[:grid, :grid] = torch.arange(grid * grid).view(grid, grid)
    there = places.view(across, side, across, side).transpose(1, 2).flatten()
    return there, there.argsort()[: grid * grid]


class Perceptron(nn.Module):
    """A block's MLP behind its own norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.act = nn.GELU()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[1, N, C] → the same."""
        return self.fc2(self.act(self.fc1(self.norm(tokens))))


class Attending(nn.Module):
    """A block of the later stages: attention, a depthwise convolution, an MLP."""

    def __init__(self, width: int, heads: int, grid: int, side: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, grid, side)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Perceptron(width)
        self.grid = (grid, grid)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        tokens = x.flatten(2).transpose(1, 2)
        near = self.local_conv(self._map(tokens + self.attn(tokens)))
        tokens = near.flatten(2).transpose(1, 2)
        return self._map(tokens + self.mlp(tokens))

    def _map(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.transpose(1, 2).unflatten(2, self.grid)


class Stage(nn.Module):
    """Some blocks, and the step to the next stage."""

    def __init__(self, blocks: Iterable[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        if downsample is not None:
            self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → [1, C', h', w']."""
        x = self.blocks(x)
        return self.downsample(x) if hasattr(self, "downsample") else x


class TinyViT(nn.Module):
    """MobileSAM's image encoder."""

    def __init__(self, sizes: TinyViTSizes = TinyViTSizes()) -> None:  # noqa: B008 (it cannot be changed)
        super().__init__()
        self.img_size = sizes.side
        first, last = sizes.widths[0], sizes.widths[-1]
        stem = (ConvNorm(3, first // 2, 3, 2), nn.GELU(), ConvNorm(first // 2, first, 3, 2))
        self.patch_embed = nn.Sequential(OrderedDict(seq=nn.Sequential(*stem)))
        self.layers = nn.Sequential(*_stages(sizes))
        self.norm_head = nn.LayerNorm(last)
        self.head = nn.Linear(last, sizes.classes)
        self.neck = nn.Sequential(
            nn.Conv2d(last, sizes.channels, 1, bias=False),
            LayerNorm2d(sizes.channels),
            nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1, bias=False),
            LayerNorm2d(sizes.channels),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """A normalised image [1, 3, S, S] to features [1, 256, S/16, S/16]."""
        features: torch.Tensor = self.neck(self.layers(self.patch_embed(image)))
        return features


def _stages(sizes: TinyViTSizes) -> list[Stage]:
    stages: list[Stage] = []
    grid = sizes.side // 4
    for index, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)):
        of_attention = (width, sizes.heads[index], grid, sizes.windows[index])
        blocks = [Attending(*of_attention) if index else Convolutions(width) for _ in range(depth)]
        if index == len(sizes.strides):
            return [*stages, Stage(blocks, None)]
        stride = sizes.strides[index]
        stages.append(Stage(blocks, Merging(width, sizes.widths[index + 1], stride)))
        grid //= stride
    return stages
