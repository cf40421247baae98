"""Pieces of Grounding DINO's forward pass that its two stages share, on transformers' modules.

What is added where attention must not look is finite, so that half precision holds it: a masked entry is far below all
others, and its share rounds to 0.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..embed import Upstream

FAR = -1e4
"""Added to scores that attention must not see."""


def shut(open_: torch.Tensor) -> torch.Tensor:
    """What is added to scores: 0 where attention looks, FAR elsewhere."""
    return torch.where(open_, 0.0, FAR)


def waves(count: int, temperature: float = 10000.0) -> torch.Tensor:
    """Angular frequencies 2π / temperature^(2i/count) of a sine embedding of `count` numbers, [count / 2] float32."""
    return torch.tensor([2 * math.pi / temperature ** (2 * i / count) for i in range(count // 2)], dtype=torch.float32)


def sines(values: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Sine and cosine in turn, for values [..., 1]: [..., 2F]."""
    angles = values * frequencies
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)


def heads(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """[N, C] as [heads, N, C / heads]."""
    return tensor.unflatten(-1, (count, -1)).transpose(0, 1)


def joined(tensor: torch.Tensor) -> torch.Tensor:
    """[heads, N, c] as [N, heads · c]."""
    return tensor.transpose(0, 1).flatten(1)


def attend(
    layer: Upstream, count: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor,
    added: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Attention with a layer's `query`, `key` and `value`: [N, C] each, without the output's projection."""
    q, k = heads(layer.query(queries), count), heads(layer.key(keys), count)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(1, 2)
    shares = F.softmax(scores if added is None else scores + added, -1)
    return joined(shares @ heads(layer.value(values), count))


def projected(project: Upstream, source: torch.Tensor, seen: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """A convolution and a group norm as they are of the photo without what pads it: [1, D, h, w].

    Transformers does not pad a single photo. So the convolution sees zeros behind the photo's end, as at a border,
    and means and variances are of the photo's cells (Wu and He, Group Normalization, 2018).

    Args:
        project: of `nn.Conv2d` and `nn.GroupNorm`.
        source: [1, C, H, W].
        seen: [H, W] bool, which of its cells lie in the photo.
        inside: [h, w] bool, likewise of the result's; one at least.
    """
    convolution, norm = project
    made = convolution(torch.where(seen, source, 0.0)).unflatten(1, (norm.num_groups, -1))
    share, axes = 1 / inside.to(torch.float32).mean(), (2, 3, 4)
    centred = made - torch.where(inside, made, 0.0).mean(axes, keepdim=True) * share
    kept = torch.where(inside, centred, 0.0)
    variance = (kept * kept).mean(axes, keepdim=True) * share
    unit = (centred / (variance + norm.eps).sqrt()).flatten(1, 2)
    return unit * norm.weight[:, None, None] + norm.bias[:, None, None]


class Levels:
    """How an image of one size lies on the levels of features.

    Attributes:
        shapes: (height, width) of each.
        rows, columns: for each level, which row and column of the image stands for it in a mask.
    """

    def __init__(self, height: int, width: int, first: int, count: int) -> None:
        """Levels of stride `first`, twice that, and so on: sides are halved and rounded up."""
        stride = 4
        self.shapes: list[tuple[int, int]] = []
        size = (-(-height // 4), -(-width // 4))
        while len(self.shapes) < count:
            if stride >= first:
                self.shapes.append(size)
            size, stride = (-(-size[0] // 2), -(-size[1] // 2)), stride * 2
        self.rows = [_nearest(height, h) for h, _ in self.shapes]
        self.columns = [_nearest(width, w) for _, w in self.shapes]
        self.total = sum(h * w for h, w in self.shapes)


def _nearest(pixels: int, cells: int) -> torch.Tensor:
    """The pixel that torch's nearest resizing takes for each cell, [cells] float32."""
    return F.interpolate(torch.arange(pixels, dtype=torch.float32)[None, None], size=cells)[0, 0]


class Sampler(nn.Module):
    """Bilinear samples of features on all levels at once, by gathers: zero outside, corners not aligned.

    GridSample says the same in one operator, but TensorRT's parsers up to 11.1 read it as *nearest* from opset 20 on
    (NVIDIA/TensorRT issue 4646), and from 10.14 on it is miscompiled here at any opset (issue 4813).
    """

    sizes: torch.Tensor
    wide: torch.Tensor
    first: torch.Tensor

    def __init__(self, levels: Levels, count: int) -> None:
        """Tables for `count` heads."""
        super().__init__()
        heights, widths = zip(*levels.shapes, strict=True)
        starts = [sum(h * w for h, w in levels.shapes[:level]) for level in range(len(levels.shapes))]
        self.register_buffer("sizes", torch.tensor([widths, heights], dtype=torch.float32).T.reshape(1, 1, -1, 1, 2))
        self.register_buffer("wide", torch.tensor(widths, dtype=torch.int32).reshape(1, 1, -1, 1))
        first = torch.tensor(starts, dtype=torch.int32).reshape(1, 1, -1, 1)
        rows = torch.arange(count, dtype=torch.int32).reshape(1, -1, 1, 1) * levels.total
        self.register_buffer("first", first + rows)

    def forward(self, values: torch.Tensor, places: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Weighted sums of samples.

        Args:
            values: [heads, S, c], features of all levels.
            places: [Q, heads, levels, points, 2], x and y, 0 to 1 on each level.
            shares: [Q, heads, levels, points], weights of the samples.

        Returns:
            [Q, heads · c].
        """
        flat = values.flatten(0, 1)
        at = places * self.sizes - 0.5
        corner = at.floor()
        beyond = at - corner
        total = torch.zeros(())
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            found, share = self._corner(flat, corner, beyond, dx, dy)
            total = total + (shares * share).flatten(2)[:, :, None] @ found
        return total[:, :, 0].flatten(1)

    def _corner(
        self, flat: torch.Tensor, corner: torch.Tensor, beyond: torch.Tensor, dx: int, dy: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features at one of the four corners, [Q, heads, levels · points, c], and their bilinear weights."""
        cell = corner + torch.tensor([dx, dy], dtype=torch.float32)
        inside = (cell >= 0) & (cell < self.sizes)
        held = torch.minimum(cell.clamp(min=0), self.sizes - 1).to(torch.int32)
        index = self.first + held[..., 1] * self.wide + held[..., 0]
        x, y = beyond[..., 0], beyond[..., 1]
        share = (x if dx else 1 - x) * (y if dy else 1 - y)
        return F.embedding(index.flatten(2), flat), torch.where(inside[..., 0] & inside[..., 1], share, 0.0)
