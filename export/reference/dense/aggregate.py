"""`aggregate`: a crop's features and words to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ..embed import Upstream
from ..maker import StageMaker, tensor
from .clip_dense import features

if TYPE_CHECKING:
    from ..networks import Networks


class Aggregate(nn.Module):
    """The head on one crop."""

    def __init__(self, model: Upstream, pooling: int) -> None:
        super().__init__()
        self.aggregator: Upstream = model.seg_head.transformer
        self.pooling = pooling

    def forward(
        self, dense: torch.Tensor, finer: torch.Tensor, finest: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Features [1, …] and text [T, C] → logits [T, 4h, 4w]."""
        return self.aggregator(dense, finer, finest, text, self.pooling)


def inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    """A crop's features, and words."""
    text = tensor("text", ("T", networks.dimensions.embedding), "word, channel", "unit length over channels")
    return (*features(networks, 1), text)


def outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    """A logit for each word and place of a crop."""
    side = 4 * networks.dimensions.grid
    return (tensor("logits", ("T", side, side), "word, y, x"),)


MAKER = StageMaker(
    module=lambda networks: Aggregate(networks.models["dense"], networks.recipe.parameters.pooling),
    inputs=inputs,
    outputs=outputs,
)
