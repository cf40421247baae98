"""MobileSAM: SAM's decoder behind TinyViT."""

from __future__ import annotations

from torch import nn

from .sam import SMALLEST, sam_around
from .tiny_vit import TinyViT, TinyViTSizes

RELEASE = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/{}.pt"


def build_mobile_sam() -> nn.Module:
    """MobileSAM as published; `mobile_sam.pt` is a flat state dict of it."""
    return sam_around(TinyViT())


def build_micro_mobile_sam() -> nn.Module:
    """Its architecture at its smallest, on 256 pixels: every step and every kind of window, for tests."""
    sizes = TinyViTSizes(
        side=256,
        widths=(16, 32, 40, 64),
        depths=(1, 1, 1, 1),
        heads=(2, 2, 2, 4),
        channels=SMALLEST.channels,
        classes=4,
    )
    return sam_around(TinyViT(sizes), SMALLEST)
