"""CAT-Seg's aggregator: the likeness of every place to every word becomes logits, under its checkpoints' names."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .class_attention import ClassAttention
from .swin import SwinPair


class AggregatorSizes(NamedTuple):
    """The sizes of an aggregator."""

    embedding: int
    """Channels of the photo's and the words' features."""
    grid: int = 24
    """Places along a side of the map."""
    hidden: int = 128
    guide: int = 128
    """Channels that lead the attention: of the photo's features, and of the words'."""
    layers: int = 2
    heads: int = 4
    window: int = 12
    decoder: tuple[int, int] = (64, 32)
    skips: tuple[int, int] = (256, 128)
    """Channels of the finer features that the decoder is led by."""
    skip_guides: tuple[int, int] = (32, 16)
    most: int = 256
    """Classes that see each other."""


class Layer(nn.Module):
    """Places see each other, then classes."""

    def __init__(self, sizes: AggregatorSizes) -> None:
        super().__init__()
        self.swin_block = SwinPair(sizes.hidden, sizes.guide, sizes.heads, sizes.grid, sizes.window)
        self.attention = ClassAttention(sizes.hidden, sizes.guide, sizes.heads, sizes.most)

    def forward(self, x: torch.Tensor, places: torch.Tensor, words: torch.Tensor, pooling: int) -> torch.Tensor:
        """x [T, h, w, C], places [1, h, w, G], words [T, 1, G] → [T, h, w, C]."""
        return self.attention(self.swin_block(x, places), words, pooling)


class DoubleConvolution(nn.Module):
    """Two convolutions with a norm of groups and a ReLU each."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(width, out, 3, padding=1, bias=False), nn.GroupNorm(out // 16, out), nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False), nn.GroupNorm(out // 16, out), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, C, h, w] → [T, out, h, w]."""
        return self.double_conv(x)


class Up(nn.Module):
    """A map of twice the side, beside finer features of the photo."""

    def __init__(self, width: int, out: int, guide: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width - guide, 2, stride=2)
        self.conv = DoubleConvolution(width, out)

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """x [T, C, h, w], guide [1, G, 2h, 2w] → [T, out, 2h, 2w]."""
        x = self.up(x)
        return self.conv(torch.cat([x, guide.expand(x.shape[0], -1, -1, -1)], dim=1))


class Aggregator(nn.Module):
    """Cosines of places and words, embedded, mixed along both, and brought to four times the resolution."""

    def __init__(self, sizes: AggregatorSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.conv1 = nn.Conv2d(1, sizes.hidden, 7, padding=3)
        self.guidance_projection = _projected(sizes.embedding, sizes.guide)
        self.text_guidance_projection = nn.Sequential(nn.Linear(sizes.embedding, sizes.guide), nn.ReLU())
        pairs = zip(sizes.skips, sizes.skip_guides, strict=True)
        self.decoder_guidance_projection = nn.ModuleList(_projected(*pair) for pair in pairs)
        self.decoder1 = Up(sizes.hidden, sizes.decoder[0], sizes.skip_guides[0])
        self.decoder2 = Up(sizes.decoder[0], sizes.decoder[1], sizes.skip_guides[1])
        self.head = nn.Conv2d(sizes.decoder[1], 1, 3, padding=1)

    def forward(
        self, dense: torch.Tensor, finer: torch.Tensor, finest: torch.Tensor, text: torch.Tensor, pooling: int = 1
    ) -> torch.Tensor:
        """Logits of words on one crop.

        Args:
            dense: [1, C, h, w], the photo's features in the space of the words.
            finer: [1, S1, 2h, 2w], features of an earlier block.
            finest: [1, S2, 4h, 4w], of one before.
            text: [T, C] of unit length, T no more than `sizes.most`.
            pooling: how many times coarser the map is on which classes see each other.

        Returns:
            [T, 4h, 4w].
        """
        words = F.normalize(text, dim=-1)
        cosines = words @ F.normalize(dense, dim=1)[0].flatten(1)  # [T, N]
        x = self.conv1(cosines.unflatten(1, dense.shape[2:])[:, None]).permute(0, 2, 3, 1)
        places = self.guidance_projection(dense).permute(0, 2, 3, 1)
        led = self.text_guidance_projection(words)[:, None]
        for layer in self.layers:
            x = layer(x, places, led, pooling)
        guides = [
            project(skip) for project, skip in zip(self.decoder_guidance_projection, (finer, finest), strict=True)
        ]
        x = self.decoder2(self.decoder1(x.permute(0, 3, 1, 2), guides[0]), guides[1])
        return self.head(x)[:, 0]


def _projected(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.ReLU())
