"""CAT-Seg: a CLIP, fine-tuned, and its aggregator. github.com/cvlab-kaist/CAT-Seg (MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from ..clip import CLIP
from ..families import MICRO, TINY
from .aggregator import Aggregator, AggregatorSizes

TEMPLATE = "A photo of a {} in the scene"
"""CAT-Seg's."""


class Head(nn.Module):
    """All that CAT-Seg adds to CLIP."""

    def __init__(self, sizes: AggregatorSizes, width: int) -> None:
        super().__init__()
        self.upsample1 = nn.ConvTranspose2d(width, sizes.skips[0], 2, stride=2)
        self.upsample2 = nn.ConvTranspose2d(width, sizes.skips[1], 4, stride=4)
        self.transformer = Aggregator(sizes)

    def finer(self, taps: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of two blocks, each [B, D, h, w], as the decoder takes them: [B, S, 2h, 2w] and [B, S, 4h, 4w]."""
        return self.upsample1(taps[0]), self.upsample2(taps[1])


class CatSeg(nn.Module):
    """CLIP and the head.

    Attributes:
        clip: open_clip's CLIP.
        seg_head: the rest.
        taps: blocks of CLIP's image tower, counted from 0, whose features the decoder takes: of the finer, the finest.
        side: of the crops that the tower sees, in pixels.
        template: the prompt that it was trained with.
    """

    def __init__(self, clip: nn.Module, head: Head, taps: tuple[int, int], side: int, template: str = TEMPLATE) -> None:
        super().__init__()
        self.clip, self.seg_head, self.taps, self.side, self.template = clip, head, taps, side, template

    @property
    def sizes(self) -> AggregatorSizes:
        """The aggregator's."""
        return self.seg_head.transformer.sizes


class Build(NamedTuple):
    """How a model is made."""

    clip: str
    """Open_clip's name."""
    width: int
    """Channels of its image tower's tokens."""
    sizes: AggregatorSizes
    taps: tuple[int, int]
    side: int
    template: str = TEMPLATE


SMALL = AggregatorSizes(
    embedding=64, grid=6, hidden=32, guide=32, layers=1, heads=2, window=3, decoder=(32, 16), skips=(32, 16),
    skip_guides=(16, 8),
)  # fmt: skip

BUILDS: Mapping[str, Build] = {
    "micro_catseg": Build(MICRO, 64, SMALL, (0, 1), 96),
    "tiny_catseg": Build(
        TINY, 128, SMALL._replace(embedding=128, grid=12, layers=2, heads=4, window=6), (1, 3), 96, "a photo of a {}."
    ),
    "catseg_vit_b": Build("ViT-B-16-quickgelu", 768, AggregatorSizes(512), (3, 7), 384),
    "catseg_vit_l": Build("ViT-L-14-336-quickgelu", 1024, AggregatorSizes(768), (7, 15), 336),
}
"""By the name that a recipe gives."""


def build_head(name: str) -> Head:
    """A model's head by the model's name."""
    return Head(BUILDS[name].sizes, BUILDS[name].width)


def build(name: str) -> nn.Module:
    """A model by its name."""
    row = BUILDS[name]
    return CatSeg(CLIP.build(row.clip), build_head(name), row.taps, row.side, row.template)
