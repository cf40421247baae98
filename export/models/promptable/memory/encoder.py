"""A frame and an object's mask to a memory.

Ravi et al., SAM 2, ICLR 2025; the fuser is of ConvNeXt's blocks (Liu et al., CVPR 2022). The names are those of
`sam2.1_hiera_tiny.pt`.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn

STEPS = 4
"""Halvings from the image's side to the grid's; each has four times the channels of the one before."""


class MaskDownsampler(nn.Module):
    """A mask at the image's size to the grid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for step in range(STEPS):
            parts += [
                nn.Conv2d(4**step, 4 ** (step + 1), 3, stride=2, padding=1),
                LayerNorm2d(4 ** (step + 1)),
                nn.GELU(),
            ]
        self.encoder = nn.Sequential(*parts, nn.Conv2d(4**STEPS, channels, 1))

    def forward(self, mask: torch.Tensor) -> torch.Tensor:
        """[O, 1, S, S] → [O, C, g, g]."""
        small: torch.Tensor = self.encoder(mask)
        return small


class FuserBlock(nn.Module):
    """One of ConvNeXt's blocks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[O, C, g, g] → the same."""
        mixed = self.norm(self.dwconv(maps)).permute(0, 2, 3, 1)
        mixed = self.gamma * self.pwconv2(nn.functional.gelu(self.pwconv1(mixed)))
        return maps + mixed.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """Two of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(FuserBlock(channels), FuserBlock(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[O, C, g, g] → the same."""
        mixed: torch.Tensor = self.layers(maps)
        return mixed


class MemoryEncoder(nn.Module):
    """A frame's features and a mask to a memory."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(channels)
        self.pix_feat_proj = nn.Conv2d(channels, channels, 1)
        self.fuser = Fuser(channels)
        self.out_proj = nn.Conv2d(channels, width, 1)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Features [O or 1, C, g, g] and masks scaled to ±10, [O, 1, S, S] → [O, D, g, g]."""
        small = self.mask_downsampler(mask)
        # repeated, not broadcast: OpenVINO 2026.4 fuses the sum into the convolution, and fails at O > 1
        seen = torch.repeat_interleave(self.pix_feat_proj(features), small.shape[0] // features.shape[0], dim=0)
        memory: torch.Tensor = self.out_proj(self.fuser(seen + small))
        return memory
