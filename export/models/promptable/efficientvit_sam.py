"""EfficientViT-SAM: SAM's decoder behind EfficientViT, which takes the photo on 512 pixels."""

from __future__ import annotations

from torch import nn

from .efficientvit import EPS, EfficientViT, EfficientViTSizes
from .sam import SMALLEST, sam_around

RELEASE = "https://huggingface.co/mit-han-lab/efficientvit-sam/resolve/main/{}.pt"


def build_l0() -> nn.Module:
    """EfficientViT-SAM L0 as published."""
    return sam_around(EfficientViT(), eps=EPS)


def build_l1() -> nn.Module:
    """EfficientViT-SAM L1 as published."""
    return sam_around(EfficientViT(EfficientViTSizes(depths=(1, 1, 1, 6, 6), neck_depth=8)), eps=EPS)


def build_micro() -> nn.Module:
    """Its architecture at its smallest: 128 pixels of which SAM's square makes 256, for tests."""
    sizes = EfficientViTSizes(
        side=128, widths=(8, 8, 16, 16, 32), depths=(1, 1, 1, 1, 1), head=8, neck=32, neck_depth=1,
        grid=SMALLEST.grid, channels=SMALLEST.channels,
    )  # fmt: skip
    return sam_around(EfficientViT(sizes), SMALLEST, eps=EPS)
