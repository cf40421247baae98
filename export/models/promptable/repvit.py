"""RepViT-M1, EdgeTAM's image encoder: convolutions alone, at four sizes.

Wang et al., RepViT: Revisiting Mobile CNN From ViT Perspective, CVPR 2024; Zhou et al., EdgeTAM: On-Device Track
Anything Model, CVPR 2025. The names are those of `edgetam.pt`, which keeps the three branches of every mixer apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from .tiny_vit import ConvNorm


class RepViTSizes(NamedTuple):
    """Sizes of a RepViT, by stage; M1's by default."""

    widths: tuple[int, ...] = (48, 96, 192, 384)
    depths: tuple[int, ...] = (2, 2, 14, 2)


class Mixer(nn.Module):
    """Depthwise convolutions of 3 × 3 and of 1 × 1, and the residual, added up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, 3, groups=width)
        self.conv1 = ConvNorm(width, width, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        return self.conv(x) + self.conv1(x) + x


class Squeeze(nn.Module):
    """Each channel times a share that is computed of all channels' means (squeeze and excitation)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = squeezed(width)
        self.fc1 = nn.Conv2d(width, narrow, 1)
        self.fc2 = nn.Conv2d(narrow, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.fc2(self.fc1(means).relu()).sigmoid()


def squeezed(width: int) -> int:
    """A quarter of a width, as the nearest multiple of 8."""
    return max(8, (width // 4 + 4) // 8 * 8)


class Widening(nn.Module):
    """1 × 1 to twice the width, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, 2 * width)
        self.act = nn.GELU()
        self.conv2 = ConvNorm(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        return self.conv2(self.act(self.conv1(x)))


class Block(nn.Module):
    """A mixer, perhaps a squeeze, and a residual around a widening."""

    def __init__(self, width: int, squeeze: bool) -> None:
        super().__init__()
        self.token_mixer = Mixer(width)
        self.se = Squeeze(width) if squeeze else nn.Identity()
        self.channel_mixer = Widening(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        x = self.se(self.token_mixer(x))
        return x + self.channel_mixer(x)


class Step(nn.Module):
    """The step to the next stage: half the grid, another width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pre_block = Block(inputs, squeeze=False)
        self.spatial_downsample = ConvNorm(inputs, inputs, 3, 2, groups=inputs)
        self.channel_downsample = ConvNorm(inputs, outputs)
        self.ffn = Widening(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → [1, C', h/2, w/2]."""
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return x + self.ffn(x)


class Stage(nn.Module):
    """The step to this stage, and its blocks, every other of them with a squeeze."""

    def __init__(self, inputs: int, width: int, depth: int, first: bool) -> None:
        super().__init__()
        self.downsample = nn.Identity() if first else Step(inputs, width)
        self.blocks = nn.Sequential(*(Block(width, squeeze=index % 2 == 0) for index in range(depth)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → [1, C', h', w']."""
        return self.blocks(self.downsample(x))


class Stem(nn.Module):
    """Two convolutions to a quarter of the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, width // 2, 3, 2)
        self.act1 = nn.GELU()
        self.conv2 = ConvNorm(width // 2, width, 3, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[1, 3, S, S] → [1, C, S/4, S/4]."""
        return self.conv2(self.act1(self.conv1(image)))


class RepViT(nn.Module):
    """The image encoder without its neck.

    Attributes:
        widths: of its stages, fine to coarse.
    """

    def __init__(self, sizes: RepViTSizes = RepViTSizes()) -> None:  # noqa: B008 (it cannot be changed)
        super().__init__()
        self.widths = sizes.widths
        parts = {"stem": Stem(sizes.widths[0])}
        before = sizes.widths[:1] + sizes.widths[:-1]
        for index, (inputs, width, depth) in enumerate(zip(before, *sizes, strict=True)):
            parts[f"stages_{index}"] = Stage(inputs, width, depth, first=index == 0)  # type: ignore[assignment]
        self.body = nn.ModuleDict(parts)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """A normalised image [1, 3, S, S] to the stages' outputs, at S/4, S/8, S/16 and S/32."""
        stem, *stages = self.body.values()
        outputs, x = [], stem(image)
        for stage in stages:
            x = stage(x)
            outputs.append(x)
        return outputs
