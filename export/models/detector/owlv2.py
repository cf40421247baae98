"""OWLv2: a CLIP whose patches are boxes. github.com/google-research/scenic, projects/owl_vit (Apache-2.0).

The towers are open_clip's; what stands behind them has the names of transformers' Owlv2ForObjectDetection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from ..miniature.networks import CONTEXT, WINDOW
from ..miniature.words import cut_vocabulary

TINIEST = 1e-6
"""Added to lengths, so that nothing is divided by zero."""

HEAD = 32
"""Width of a head of the blocks that the miniature has beside CLIP's."""

TEMPLATE = "a photo of a {}"


class Mlp(nn.Module):
    """Three layers on every box."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.dense0, self.dense1 = nn.Linear(width, width), nn.Linear(width, width)
        self.dense2 = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> Any:
        """[B, N, D] → [B, N, outputs]."""
        return self.dense2(F.gelu(self.dense1(F.gelu(self.dense0(x)))))


class ClassHead(nn.Module):
    """What words are compared with."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.dense0 = nn.Linear(width, embedding)
        self.logit_shift, self.logit_scale = nn.Linear(width, 1), nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, N, D] → embeddings [B, N, E] of unit length, shifts [B, N] and scales [B, N]."""
        rows = self.dense0(x)
        unit = rows / (torch.linalg.vector_norm(rows, dim=-1, keepdim=True) + TINIEST)
        return unit, self.logit_shift(x)[..., 0], F.elu(self.logit_scale(x))[..., 0] + 1


class Behind(nn.Module):
    """What stands behind CLIP's towers.

    Attributes:
        blocks: transformer blocks between the image tower and its last norm; the published models have none.
    """

    def __init__(self, width: int, embedding: int, blocks: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualAttentionBlock(width, width // HEAD) for _ in range(blocks))
        self.layer_norm = nn.LayerNorm(width)
        self.class_head, self.box_head = ClassHead(width, embedding), Mlp(width, 4)
        self.objectness_head = Mlp(width, 1)


class Owlv2(nn.Module):
    """The whole model.

    Attributes:
        clip: open_clip's CLIP; its image tower may have been made for pictures of another size.
        side: of the pictures, in pixels.
        template: the prompt that words are put into.
    """

    def __init__(self, clip: Any, behind: Behind, side: int, template: str = TEMPLATE) -> None:
        super().__init__()
        self.clip, self.side, self.template = clip, side, template
        self.blocks, self.layer_norm = behind.blocks, behind.layer_norm
        self.class_head, self.box_head = behind.class_head, behind.box_head
        self.objectness_head = behind.objectness_head

    @property
    def grid(self) -> int:
        """Rows and columns of boxes."""
        return int(self.side // self.clip.visual.conv1.stride[0])


class Build(NamedTuple):
    """Sizes of a model."""

    patch: int
    width: int
    """Of the image tower."""
    layers: int
    text: tuple[int, int, int]
    """Width, heads and layers of the text tower."""
    side: int
    head: int = 64
    """Width of a head of the image tower."""
    trained: int | None = None
    """Side of the pictures that the image tower was trained on, where it is another."""
    context: int = 16
    blocks: int = 0
    template: str = TEMPLATE


BUILDS: Mapping[str, Build] = {
    "owlv2_b16": Build(16, 768, 12, (512, 8, 12), 960),
    "owlv2_l14": Build(14, 1024, 24, (768, 12, 12), 1008),
    "micro_owlv2": Build(16, 64, 2, (64, 4, 2), 160, head=16),
    "tiny_owlv2": Build(
        8, 128, 6, (128, 4, 3), 192, head=32, trained=WINDOW, context=CONTEXT, blocks=2, template="a photo of a {}."
    ),
}
"""By the name that a recipe gives."""


def build_behind(name: str) -> Behind:
    """What stands behind a model's towers, by the model's name."""
    row = BUILDS[name]
    return Behind(row.width, row.text[0], row.blocks)


def build(name: str) -> nn.Module:
    """A model by its name."""
    row = BUILDS[name]
    vision = open_clip.CLIPVisionCfg(
        image_size=row.trained or row.side, patch_size=row.patch, width=row.width, layers=row.layers,
        head_width=row.head,
    )  # fmt: skip
    width, heads, layers = row.text
    words = len(cut_vocabulary().tokens) if row.context == CONTEXT else 49408
    text = open_clip.CLIPTextCfg(context_length=row.context, vocab_size=words, width=width, heads=heads, layers=layers)
    return Owlv2(open_clip.CLIP(width, vision, text, quick_gelu=True), build_behind(name), row.side, row.template)
