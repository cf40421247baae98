"""The dense contrastive loss: patches of one label alike, all others apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F

TEMPERATURE = 0.15
APART = 0.1
"""Cosine similarity that patches of different labels should not pass."""


def dense_contrast(units: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Contrast, and both directions in absolute terms: alike patches to 1, others below APART.

    Args:
        units: [B, N, C], unit length.
        labels: [B, N] int; patches with a negative one are left out.
    """
    similarity = units @ units.transpose(1, 2)
    clear = labels >= 0
    pairs = clear[:, :, None] & clear[:, None, :]
    pairs &= ~torch.eye(pairs.shape[1], dtype=torch.bool, device=pairs.device)
    same = (labels[:, :, None] == labels[:, None, :]) & pairs
    other = pairs & ~same
    scores = (similarity / TEMPERATURE).masked_fill(~pairs, float("-inf"))
    usable = same.any(dim=-1)
    share = scores.masked_fill(~same, float("-inf"))[usable].logsumexp(-1) - scores[usable].logsumexp(-1)
    apart = F.relu(similarity[other] - APART).square()
    return {
        "contrast": -share.mean(),
        "together": (1 - similarity[same]).mean(),
        "apart": 4 * apart.sum() / other.sum().clamp(min=1),
    }
