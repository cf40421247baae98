"""EdgeTAM: SAM 2's decoder behind RepViT-M1."""

from __future__ import annotations

from torch import nn

from .repvit import RepViT, RepViTSizes
from .sam import SMALLEST
from .sam2 import Sam2

RELEASE = "https://huggingface.co/facebook/EdgeTAM/resolve/main/{}.pt"


def build_edgetam() -> nn.Module:
    """EdgeTAM's image side as published."""
    return Sam2(RepViT())


def build_micro() -> nn.Module:
    """Its architecture at its smallest, on 256 pixels, for tests."""
    return Sam2(RepViT(RepViTSizes(widths=(8, 16, 24, 32), depths=(1, 1, 2, 1))), SMALLEST)
