"""What learned dense models have in common: a CLIP, fine-tuned, and a head over the features of three of its blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

TEMPLATE = "A photo of a {} in the scene"
"""CAT-Seg's."""

Pair = tuple[int, int]


class Head(nn.Module):
    """All that is added to CLIP, under the names of CAT-Seg's checkpoints.

    Attributes:
        transformer: takes a crop's features and words, gives logits; its `sizes` have the fields of `AggregatorSizes`
            that all heads share: embedding, grid, skips, most.
    """

    def __init__(self, skips: Pair, width: int, transformer: nn.Module) -> None:
        super().__init__()
        self.upsample1 = nn.ConvTranspose2d(width, skips[0], 2, stride=2)
        self.upsample2 = nn.ConvTranspose2d(width, skips[1], 4, stride=4)
        self.transformer = transformer

    def finer(self, taps: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of two blocks, each [B, D, h, w], as the decoder takes them: [B, S, 2h, 2w] and [B, S, 4h, 4w]."""
        return self.upsample1(taps[0]), self.upsample2(taps[1])


class LearnedDense(nn.Module):
    """CLIP and the head.

    Attributes:
        clip: open_clip's CLIP.
        seg_head: the rest.
        taps: blocks of CLIP's image tower, counted from 0, whose features the decoder takes: of the finer, the finest.
        side: of the crops that the tower sees, in pixels.
        template: the prompt that it was trained with.
    """

    def __init__(self, clip: nn.Module, head: Head, taps: Pair, side: int, template: str = TEMPLATE) -> None:
        super().__init__()
        self.clip, self.seg_head, self.taps, self.side, self.template = clip, head, taps, side, template

    @property
    def sizes(self) -> Any:
        """The head's."""
        return self.seg_head.transformer.sizes


class Build(NamedTuple):
    """How a model is made."""

    clip: str
    """Open_clip's name."""
    width: int
    """Channels of its image tower's tokens."""
    sizes: Any
    """Of the head's transformer."""
    taps: Pair
    side: int
    transformer: Callable[[Any], nn.Module]
    """Made of the sizes."""
    template: str = TEMPLATE

    def head(self) -> Head:
        """The head alone."""
        return Head(self.sizes.skips, self.width, self.transformer(self.sizes))
