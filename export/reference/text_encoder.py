"""`text_encoder`: tokens to text features."""

from __future__ import annotations

import torch
from torch import nn


class TextEncoder(nn.Module):
    """CLIP's text tower."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens [P, 77] int32 → features [P, E], not normalised."""
        return self.clip.encode_text(tokens.long())
