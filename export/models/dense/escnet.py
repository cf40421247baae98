"""ESC-Net: CLIP, and blocks in which SAM's decoder follows prompts that the words' own maps make.

Neither its code nor its weights are public. This is our reading of the paper (`esc_block.EscSizes` says what it had to
assume); a model of it has random weights, or those that somebody trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..families import MICRO, TINY
from .aggregator import DoubleConvolution
from .esc_block import EscBlock, EscSizes, PromptEmbedding
from .model import Build
from .pseudo_prompts import Prompts, PseudoPrompts


class Answer(NamedTuple):
    """What the head says about a crop, and how it came to it."""

    logits: torch.Tensor
    """[T, 4h, 4w]."""
    maps: tuple[torch.Tensor, ...]
    """Of each block [T, h, w]: what its prompts are made of."""
    prompts: tuple[Prompts, ...]
    """Of each block; none without SAM's blocks, or where they see no prompts."""


class SmoothUp(nn.Module):
    """A map of twice the side, beside finer features of the photo: enlarged, not learned."""

    def __init__(self, width: int, out: int, guide: int) -> None:
        super().__init__()
        self.conv = DoubleConvolution(width + guide, out)

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """x [T, C, h, w], guide [1, G, 2h, 2w] → [T, out, 2h, 2w]."""
        side = guide.shape[2]
        x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
        return self.conv(torch.cat([x, guide.expand(x.shape[0], -1, -1, -1)], dim=1))


class EscTransformer(nn.Module):
    """Cosines of places and words, refined by blocks, and brought to four times the resolution."""

    def __init__(self, sizes: EscSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.neck = nn.Conv2d(sizes.embedding, sizes.width, 1)
        self.pseudo_prompts = PseudoPrompts(sizes.grid, sizes.prompts)
        self.prompt_embedding = PromptEmbedding(sizes)
        self.blocks = nn.ModuleList(EscBlock(sizes, number) for number in range(sizes.blocks))
        pairs = zip(sizes.skips, sizes.skip_guides, strict=True)
        self.guides = nn.ModuleList(nn.Sequential(nn.Conv2d(*pair, 3, padding=1), nn.ReLU()) for pair in pairs)
        self.up1 = SmoothUp(sizes.width, sizes.decoder[0], sizes.skip_guides[0])
        self.up2 = SmoothUp(sizes.decoder[0], sizes.decoder[1], sizes.skip_guides[1])
        self.head = nn.Conv2d(sizes.decoder[1], 1, 3, padding=1)

    def forward(
        self, dense: torch.Tensor, finer: torch.Tensor, finest: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Logits of words on one crop.

        Args:
            dense: [1, C, h, w], the photo's features in the space of the words.
            finer: [1, S1, 2h, 2w], features of an earlier block.
            finest: [1, S2, 4h, 4w], of one before.
            text: [T, C] of unit length, T no more than `sizes.most`.

        Returns:
            [T, 4h, 4w].
        """
        return self.answer(dense, finer, finest, text).logits

    def answer(
        self,
        dense: torch.Tensor,
        finer: torch.Tensor,
        finest: torch.Tensor,
        text: torch.Tensor,
        given: Sequence[Prompts] | None = None,
    ) -> Answer:
        """As `forward`, with all that led to it.

        Args:
            dense: [1, C, h, w].
            finer: [1, S1, 2h, 2w].
            finest: [1, S2, 4h, 4w].
            text: [T, C].
            given: prompts for each block, in place of its own.
        """
        words = F.normalize(text, dim=-1)
        cosines = words @ F.normalize(dense, dim=1)[0].flatten(1)  # [T, N]
        x, first = cosines.unflatten(1, dense.shape[2:])[:, None], self.neck(dense)
        photo, maps, prompts = first, [], []
        block: Any
        for number, block in enumerate(self.blocks):
            maps.append(block.to_map(x)[:, 0])
            if len(block.sam):
                if self.sizes.prompted:
                    prompts.append(given[number] if given else self.pseudo_prompts(maps[-1].flatten(1)))
                own = prompts[-1] if self.sizes.prompted else None
                seen = photo if self.sizes.chained else first
                photo = block.refined(seen, own, self.prompt_embedding, words.shape[0])
            x = block.fused(x, photo, words)
        return Answer(self._decoded(x, finer, finest), tuple(maps), tuple(prompts))

    def _decoded(self, x: torch.Tensor, finer: torch.Tensor, finest: torch.Tensor) -> torch.Tensor:
        x = self.up1(x, self.guides[0](finer))
        return self.head(self.up2(x, self.guides[1](finest)))[:, 0]


def begin_with_sam(transformer: EscTransformer, sam: Mapping[str, torch.Tensor]) -> None:
    """Take the blocks of SAM's decoder, in turn, and its prompt encoder: "the pretrained SAM" of the paper.

    Args:
        transformer: changed in place; as wide as that SAM's decoder.
        sam: a state dict of SAM's.
    """
    blocks: Any = transformer.blocks
    layers = [layer for block in blocks for layer in block.sam]
    for number, layer in enumerate(layers):
        layer.load_state_dict(_below(sam, f"mask_decoder.transformer.layers.{number % 2}."))
    transformer.prompt_embedding.prompt_encoder.load_state_dict(_below(sam, "prompt_encoder."))


def _below(state: Mapping[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


SMALL = EscSizes(
    embedding=64, grid=6, width=32, blocks=2, sam_heads=2, sam_mlp=64, mask_channels=8, heads=2, window=3,
    decoder=(32, 16), skips=(32, 16), skip_guides=(16, 8),
)  # fmt: skip
TINIEST = SMALL._replace(
    embedding=128, grid=12, width=64, blocks=4, sam_heads=4, sam_mlp=128, mask_channels=16, heads=4, window=6,
    decoder=(16, 16), skips=(32, 8),
)  # fmt: skip
"""As wide as the miniature SAM, whose decoder's blocks it begins with."""

BUILDS: Mapping[str, Build] = {
    "micro_escnet": Build(MICRO, 64, SMALL, (0, 1), 96, EscTransformer),
    "tiny_escnet": Build(TINY, 128, TINIEST, (1, 3), 96, EscTransformer, "a photo of a {}."),
    "escnet_vit_b": Build("ViT-B-16-quickgelu", 768, EscSizes(512), (3, 7), 384, EscTransformer),
    "escnet_vit_l": Build("ViT-L-14-336-quickgelu", 1024, EscSizes(768), (7, 15), 336, EscTransformer),
}
"""By the name that a recipe gives."""
