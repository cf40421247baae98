"""A block of ESC-Net: pseudo prompts lead SAM's attention over the photo, and that leads the words' maps.

"Effective SAM Combination for Open-Vocabulary Semantic Segmentation", Lee et al., CVPR 2025, sections 3.3 to 3.5. Its
code is not public: this is our reading.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling import PromptEncoder
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import nn

from .class_attention import positive
from .pseudo_prompts import Prompts, PromptSizes
from .swin import SwinPair


class EscSizes(NamedTuple):
    """The sizes of ESC-Net's head. What the paper does not say has its reason."""

    embedding: int
    """Channels of the photo's and the words' features."""
    grid: int = 24
    """Places along a side of the map."""
    width: int = 256
    """Channels of maps and of the photo's features within blocks: SAM's, whose parameters the paper takes."""
    blocks: int = 4
    """The paper's N (section 4.3)."""
    sam_depth: int = 1
    """Of SAM's two-way blocks in each: "one SAM block in each ESC block" (section 4.5); SAM itself has two. 0 leaves
    the photo's features as they are, and needs no prompts: the paper's ablation."""
    prompted: bool = True
    """Whether points and masks are made; if not, SAM's blocks see its prompt of no points and no mask."""
    chained: bool = True
    """Whether a block takes the photo's features from the one before. The paper says neither that nor the contrary."""
    prompts: PromptSizes = PromptSizes()
    sam_heads: int = 8
    sam_mlp: int = 2048
    """SAM's."""
    mask_channels: int = 16
    """Of the encoder of masks: SAM's."""
    heads: int = 4
    window: int = 12
    """CAT-Seg's, as the paper refers to it for its transformer."""
    decoder: tuple[int, int] = (64, 32)
    skips: tuple[int, int] = (256, 128)
    skip_guides: tuple[int, int] = (32, 16)
    """CAT-Seg's: the paper says U-Net and CLIP's features."""
    most: int = 256
    """Words of a crop: CAT-Seg's rule. The paper names no bound."""


class PromptEmbedding(nn.Module):
    """SAM's prompt encoder on prompts that lie on the map's places."""

    def __init__(self, sizes: EscSizes) -> None:
        super().__init__()
        square = (sizes.grid, sizes.grid)
        self.prompt_encoder = PromptEncoder(sizes.width, square, square, sizes.mask_channels)
        self.grid = sizes.grid

    def positions(self) -> torch.Tensor:
        """[N, C]: SAM's encoding of each place's centre, which is that of a point there too."""
        return self.prompt_encoder.get_dense_pe()[0].flatten(1).T

    def points(self, prompts: Prompts, positions: torch.Tensor) -> torch.Tensor:
        """[T, K + 1, C]; where there is no point, and last, SAM's "not a point"."""
        none = self.prompt_encoder.not_a_point_embed.weight
        there = positions[prompts.places] + self.prompt_encoder.point_embeddings[1].weight
        tokens = torch.where(prompts.used[..., None], there, none)
        return torch.cat([tokens, none.expand(tokens.shape[0], 1, -1)], dim=1)

    def masks(self, prompts: Prompts) -> torch.Tensor:
        """[T, N, C]: the mean over the masks that there are, each enlarged to SAM's four times the map.

        SAM takes one mask, ESC-Net makes several. The mean is taken before the last layer, which is linear: so it is
        the same, and 16 channels of every mask are held, not all.
        """
        count = prompts.masks.shape[1]
        side = 4 * self.grid
        planes = prompts.masks.flatten(0, 1).unflatten(1, (1, self.grid, self.grid))
        planes = F.interpolate(planes, (side, side), mode="bilinear", align_corners=False)
        *layers, last = self.prompt_encoder.mask_downscaling
        for layer in layers:
            planes = layer(planes)
        used = prompts.used.float()
        weights = used / used.sum(dim=1, keepdim=True).clamp(min=1)  # a word without a prompt has none
        mean = (planes.unflatten(0, (-1, count)) * weights[:, :, None, None, None]).sum(dim=1)
        return F.linear(mean.flatten(2).transpose(1, 2), last.weight[:, :, 0, 0], last.bias)

    def nothing(self, words: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask of no prompt, [T, 1, C] each."""
        encoder = self.prompt_encoder
        no_mask = encoder.no_mask_embed.weight
        return encoder.not_a_point_embed.weight.expand(words, 1, -1), no_mask.expand(words, 1, -1)


class WordAttention(nn.Module):
    """Linear attention of every place of every word's map to the words themselves, and an MLP; norms come first."""

    def __init__(self, width: int, embedding: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q = nn.Linear(width, width)
        self.k, self.v = nn.Linear(embedding, width), nn.Linear(embedding, width)
        self.proj = nn.Linear(width, width)
        self.MLP = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """x [T, h, w, C], words [T, D] → [T, h, w, C]."""
        queries = positive(self.q(self.norm1(x))).unflatten(-1, (self.heads, 1, -1))  # [T, h, w, H, 1, d]
        keys = positive(self.k(words)).unflatten(-1, (self.heads, -1)).permute(1, 2, 0)  # [H, d, T]
        values = self.v(words).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [H, T, d]
        count = words.shape[0]
        mixed = queries @ (keys @ values / count) / (queries @ (keys.sum(dim=2, keepdim=True) / count))
        x = x + self.proj(mixed.flatten(3))
        return x + self.MLP(self.norm2(x))


class EscBlock(nn.Module):
    """One block. Its prompts are made outside, so that others can be given."""

    def __init__(self, sizes: EscSizes, number: int) -> None:
        super().__init__()
        width = sizes.width
        self.prompted = sizes.prompted
        self.to_map = nn.Conv2d(width, 1, 1) if number else nn.Identity()
        self.sam = nn.ModuleList(
            TwoWayAttentionBlock(
                width, sizes.sam_heads, sizes.sam_mlp, skip_first_layer_pe=(number * sizes.sam_depth + layer) % 2 == 0
            )
            for layer in range(sizes.sam_depth)
        )
        self.merge = nn.Conv2d(width, width, 1) if sizes.sam_depth else nn.Identity()
        self.embed = nn.Conv2d(width if number else 1, width, 1)
        self.swin = SwinPair(width, width, sizes.heads, sizes.grid, sizes.window)
        self.words = WordAttention(width, sizes.embedding, sizes.heads)

    def refined(self, photo: torch.Tensor, prompts: Prompts | None, embedding: PromptEmbedding,
                words: int) -> torch.Tensor:  # fmt: skip
        """The photo's features [1, C, h, w] as SAM's blocks see them under each word's prompts, averaged over words.

        The paper joins N_c · C channels by a convolution, which no changing number of words allows: ours has the same
        weights for each.
        """
        positions = embedding.positions()
        if prompts is None:
            tokens, dense = embedding.nothing(words)
        else:
            tokens, dense = embedding.points(prompts, positions), embedding.masks(prompts)
        keys, queries = photo.flatten(2).transpose(1, 2) + dense, tokens
        for block in self.sam:
            queries, keys = block(queries, keys, tokens, positions[None])
        return self.merge(keys.mean(dim=0).T.unflatten(1, photo.shape[2:])[None])

    def fused(self, x: torch.Tensor, photo: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Maps [T, 1 or C, h, w], led by the photo's features [1, C, h, w] and words [T, D] → [T, C, h, w]."""
        maps = self.embed(x).permute(0, 2, 3, 1)
        maps = self.swin(maps, photo.permute(0, 2, 3, 1))
        return self.words(maps, words).permute(0, 3, 1, 2)
