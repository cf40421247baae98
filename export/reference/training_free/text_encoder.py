"""`text_encoder`: tokens to text features."""

from __future__ import annotations

import torch
from torch import nn

from ..embed import Upstream
from ..maker import StageMaker, tensor


class TextEncoder(nn.Module):
    """CLIP's text tower."""

    def __init__(self, clip: Upstream) -> None:
        super().__init__()
        self.clip: Upstream = clip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens [P, 77] int32 → features [P, E], not normalised."""
        return self.clip.encode_text(tokens.long())


MAKER = StageMaker(
    module=lambda networks: TextEncoder(networks.models["clip"]),
    inputs=lambda networks: (
        tensor("tokens", ("P", networks.dimensions.context_length), "prompt, token", "token ids", "int32"),
    ),
    outputs=lambda networks: (tensor("features", ("P", networks.dimensions.embedding), "prompt, channel"),),
)
