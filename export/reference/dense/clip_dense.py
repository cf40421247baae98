"""`clip_dense`: crops to dense features, in the space of the words, and finer ones of earlier blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ..embed import Normalise, Upstream
from ..maker import StageMaker, tensor

if TYPE_CHECKING:
    from ..networks import Networks


class ClipDense(nn.Module):
    """CLIP's image tower as CAT-Seg runs it, and the layers that make earlier features finer.

    In the last block no place sees another: each token's own value, added to the class token that came into the block
    (not to itself), goes through the block's MLP. So it is in CAT-Seg's `third_party/model_vpt.py`.
    """

    positions: torch.Tensor

    def __init__(self, model: Upstream) -> None:
        super().__init__()
        self.model: Upstream = model
        self.normalise = Normalise(OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        grid = model.sizes.grid
        self.register_buffer("positions", resampled(model.clip.visual.positional_embedding, grid))

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Crops to features.

        Args:
            crops: [B, 3, S, S] RGB in [0, 1].

        Returns:
            [B, C, h, w] dense; [B, S1, 2h, 2w] finer; [B, S2, 4h, 4w] finest.
        """
        tokens, taps = self.tower(self.normalise(crops))
        finer, finest = self.model.seg_head.finer((taps[0], taps[1]))
        return self.as_map(tokens[:, 1:]), finer, finest

    def tower(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Normalised crops → tokens [B, 1 + N, C] and the tapped blocks' features [B, D, h, w]."""
        visual = self.model.clip.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.expand(patches.shape[0], 1, -1)
        x = visual.ln_pre(torch.cat([class_token, patches], dim=1) + self.positions)
        *blocks, last = visual.transformer.resblocks
        taps = []
        for number, block in enumerate(blocks):
            x = block(x)
            if number in self.model.taps:
                taps.append(self.as_map(x[:, 1:]))
        x = x[:, :1] + own_value(last.attn, last.ln_1(x))
        x = x + last.mlp(last.ln_2(x))
        return visual.ln_post(x) @ visual.proj, taps

    def as_map(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, D] → [B, D, h, w]."""
        grid = self.model.sizes.grid
        return tokens.transpose(1, 2).unflatten(2, (grid, grid))


def own_value(attention: Upstream, x: torch.Tensor) -> torch.Tensor:
    """[B, N, D]: what attention gives where every token sees itself alone."""
    width = x.shape[-1]
    values = F.linear(x, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    return attention.out_proj(values)


def resampled(positions: torch.Tensor, grid: int) -> torch.Tensor:
    """Position embeddings [1 + N, D] for `grid` × `grid` patches: bicubic, half pixels, as CAT-Seg does it."""
    side = round((len(positions) - 1) ** 0.5)
    if side == grid:
        return positions
    planes = positions[1:].view(1, side, side, -1).permute(0, 3, 1, 2)
    planes = F.interpolate(planes, (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], planes.flatten(2)[0].T])


def features(networks: Networks, batch: str | int) -> tuple[TensorSpec, ...]:
    """The features that crops have, as this stage gives and the aggregator takes them."""
    sizes, grid = networks.models["dense"].sizes, networks.models["dense"].sizes.grid
    return (
        tensor("dense", (batch, sizes.embedding, grid, grid), "crop, channel, y, x"),
        tensor("finer", (batch, sizes.skips[0], 2 * grid, 2 * grid), "crop, channel, y, x"),
        tensor("finest", (batch, sizes.skips[1], 4 * grid, 4 * grid), "crop, channel, y, x"),
    )


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    side = networks.models["dense"].side
    return (tensor("crops", ("B", 3, side, side), "crop, RGB, y, x", "0 to 1"),)


MAKER = StageMaker(
    module=lambda networks: ClipDense(networks.models["dense"]),
    inputs=_inputs,
    outputs=lambda networks: features(networks, "B"),
)
