"""SC-CLIP's image tower: outlying tokens are repaired, and features of several depths are aggregated by similarity.

Its published settings are for CLIP ViT-B/16; deeper models take the blocks at the same share of their depth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ..embed import Upstream
from .attention import Grid, above_mean, join_heads, products, project_values, split_heads
from .clip_image import MAKER as CLIP_IMAGE
from .clip_image import ClipTower

if TYPE_CHECKING:
    from ....runtime.pipelines.training_free.methods import Method
    from ....runtime.recipe.parameters import Parameters


DEPTH = 12
"""Blocks of the model that the following are stated for."""
AGGREGATING_BLOCK, SMOOTHING_BLOCK = 9, 4
"""Whose similarity aggregates before the last block and guides its attention; and whose, after it."""
SUMMED_BLOCKS = (4, 10)
"""From the first to the last, whose outputs are summed and go through the last block a second time."""
LEAST_SIMILARITY = 0.4
"""Cosine similarities below this do not count when aggregating."""
CLASS_TOKEN_SHARE = 0.3
NEIGHBOURS, OUTLYING = 30, 0.05
"""Of the local outlier factor: how many neighbours, and which share of tokens is called outlying."""
MEAN_FACTOR, SHARPNESS = 1.0, 3.0
"""β and γ of the similarity's softmax."""
EPSILON = 1e-6


class CalibratedClipImage(ClipTower):
    """Self-calibrated CLIP (Bai et al. 2024), after its published code. Every window stands by itself."""

    def __init__(self, visual: Upstream, grid: Grid, method: Method, parameters: Parameters) -> None:
        super().__init__(visual, parameters.crop)
        self.grid = grid

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """[B, 3, c, c] RGB in [0, 1] → [B, D, h, w], before the final norm."""
        states = self.hidden(windows)
        last = states[-1]
        outlying = outliers(last[:, 1:])
        guide = cosines(self._repaired(self._patches(states, AGGREGATING_BLOCK), outlying))
        smoothing = cosines(self._patches(states, SMOOTHING_BLOCK))
        tokens = aggregate(self._repaired(last[:, 1:], outlying), guide)
        result = aggregate(self._attend(tokens, last[:, :1], guide), smoothing)
        first, end = (self._block(block) for block in SUMMED_BLOCKS)
        summed = torch.stack(states[first : end + 1]).sum(dim=0)
        result = result + aggregate(self._attend(summed[:, 1:], summed[:, :1], guide), smoothing)
        return result.transpose(1, 2).unflatten(2, self.grid)

    def _block(self, block: int) -> int:
        """A block's number in this model; the last block is never run as usual."""
        return min(max(1, round(block * len(self.blocks) / DEPTH)), len(self.blocks) - 1)

    def _patches(self, states: list[torch.Tensor], block: int) -> torch.Tensor:
        return states[self._block(block)][:, 1:]

    def _attend(self, patches: torch.Tensor, class_token: torch.Tensor, similarity: torch.Tensor) -> torch.Tensor:
        """The last block: half its attention is the similarity's, half kkᵀ; then a share of the class token."""
        block = self.blocks[-1]
        x = block.ln_1(patches)
        _, keys, values = split_heads(block.attn, x)
        guided = above_mean(similarity, similarity.mean(dim=(1, 2)), MEAN_FACTOR, SHARPNESS)
        mixed = guided @ project_values(block.attn, x) + join_heads(products(keys, keys).softmax(dim=-1) @ values)
        return block.attn.out_proj(mixed / 2) + CLASS_TOKEN_SHARE * class_token

    def _repaired(self, patches: torch.Tensor, outlying: torch.Tensor) -> torch.Tensor:
        """Outlying patches become the mean of those of their 8 neighbours that are not outlying, if there are any.

        Args:
            patches: [B, N, D].
            outlying: [B, N] float32, 1 where a patch is.
        """
        sound = (1 - outlying)[..., None]
        total, count = self._over_neighbours(patches * sound), self._over_neighbours(sound)
        mended = outlying[..., None] * (count > 0)
        return patches * (1 - mended) + total / count.clamp(min=1) * mended

    def _over_neighbours(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sums over the 8 neighbours on the grid: [B, N, D] → [B, N, D]."""
        planes = tokens.transpose(1, 2).unflatten(2, self.clip_grid)
        sums = 9 * F.avg_pool2d(planes, 3, stride=1, padding=1, count_include_pad=True) - planes
        return sums.flatten(2).transpose(1, 2)


def cosines(tokens: torch.Tensor) -> torch.Tensor:
    """[B, N, D] → their cosine similarities [B, N, N]."""
    unit = F.normalize(tokens, dim=-1)
    return unit @ unit.transpose(1, 2)


def aggregate(tokens: torch.Tensor, similarity: torch.Tensor) -> torch.Tensor:
    """Means of tokens [B, N, D], weighted by the similarities [B, N, N] that are high enough."""
    weights = torch.where(similarity < LEAST_SIMILARITY, 0.0, similarity)
    return (weights / (weights.sum(dim=-1, keepdim=True) + EPSILON)) @ tokens


def outliers(tokens: torch.Tensor) -> torch.Tensor:
    """Which tokens lie apart, by the local outlier factor: [B, N, D] → [B, N] float32, 1 where one does.

    The published code takes a token's own distance to its k-th neighbour for every reachability distance, so its
    factor is the mean over neighbours j of d_k(i) / d_k(j), with squared distances.
    """
    count = tokens.shape[1]
    neighbours = min(NEIGHBOURS, count - 1)
    squares = tokens.square().sum(dim=-1)
    distances = squares[:, :, None] + squares[:, None] - 2 * tokens @ tokens.transpose(1, 2)
    nearest = distances.clamp(min=0).topk(neighbours + 1, dim=-1, largest=False)
    farthest = nearest.values[..., -1].clamp(min=EPSILON)  # [B, N]
    others = farthest[:, None].expand(-1, count, -1).gather(2, nearest.indices[..., 1:])
    factors = (farthest[..., None] / others).mean(dim=-1)
    called = count - 1 - int((1 - OUTLYING) * (count - 1))  # as many as lie above that quantile
    return (factors >= factors.topk(max(1, called), dim=-1).values[..., -1:]).float()


MAKER = replace(
    CLIP_IMAGE,
    module=lambda networks: CalibratedClipImage(
        networks.models["clip"].visual, networks.dimensions.feature_grid, networks.row, networks.recipe.parameters
    ),
)
