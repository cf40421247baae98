"""`text_encoder`: tokens to text features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from .embed import Upstream
from .maker import StageMaker, tensor

if TYPE_CHECKING:
    from .networks import Networks


class TextEncoder(nn.Module):
    """CLIP's text tower."""

    def __init__(self, clip: Upstream) -> None:
        super().__init__()
        self.clip: Upstream = clip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens [P, 77] int32 → features [P, E], not normalised."""
        return self.clip.encode_text(tokens.long())


def text_maker(clip: Callable[[Networks], Upstream]) -> StageMaker:
    """The maker of the stage; `clip` gives the CLIP among a pipeline's models."""
    return StageMaker(
        module=lambda networks: TextEncoder(clip(networks)),
        inputs=lambda networks: (
            tensor("tokens", ("P", networks.dimensions.context_length), "prompt, token", "token ids", "int32"),
        ),
        outputs=lambda networks: (tensor("features", ("P", networks.dimensions.embedding), "prompt, channel"),),
    )
