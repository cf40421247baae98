"""The loss of SAM's features alone for detail: which sixteenths of a token belong to what lies at its centre.

A token is 16 pixels wide, and a mask has 4 × 4 cells there. What the features do not tell of those no decoder can draw.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..models.miniature.networks import SAM_CHANNELS
from .sam_prompts import GRID, MASK, Prompted

HIDDEN = 128
UNIFORM = 0.2
"""Weight of tokens with one name in all cells, against those where names meet."""
FINE = MASK // GRID


class DetailHead(nn.Sequential):
    """Features [..., SAM_CHANNELS] → logits of the cells [..., FINE²]. It is learned beside SAM and left behind."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(SAM_CHANNELS, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, FINE * FINE))


def detail_loss(head: DetailHead, features: torch.Tensor, batch: list[Prompted]) -> torch.Tensor:
    """Cross-entropy of the cells that have their token's name, against those that do not.

    Args:
        head: reads the features.
        features: [B, C, h, w].
        batch: the scenes.
    """
    centres = torch.stack([item.token_labels for item in batch]).flatten()  # [B·h·w]
    cells = torch.stack([item.cell_labels for item in batch])
    cells = cells.unflatten(2, (GRID, FINE)).unflatten(1, (GRID, FINE)).transpose(2, 3).reshape(len(centres), -1)
    known = (cells >= 0) & (centres >= 0)[:, None]
    same = cells == centres[:, None]
    meet = (known & ~same).any(-1, keepdim=True)
    entropy = F.binary_cross_entropy_with_logits(
        head(features.permute(0, 2, 3, 1).flatten(0, 2)), same.float(), reduction="none"
    )
    edge, plain = ((entropy * part).sum() / part.sum().clamp(min=1) for part in (known & meet, known & ~meet))
    return edge + UNIFORM * plain
