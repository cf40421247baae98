"""The losses of SAM's encoder alone: what its last block says about which tokens belong together."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import get_rel_pos

from ..reference.embed import Upstream
from .contrast import dense_contrast
from .sam_prompts import Prompted

FEATURES, VALUES, ATTENTION = 0.1, 0.3, 0.3
SAMPLED = 256
"""Tokens of an image that are compared with each other."""


def encoder_losses(
    attention: Upstream,
    qkv: torch.Tensor,
    features: torch.Tensor,
    batch: list[Prompted],
    rng: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """Tokens of one name are alike and others are not: in the features, and where the affinity is read.

    The affinity is the last block's attention where its values are alike; so values are compared in every head, and
    attention should stay within a name.

    Args:
        attention: the last block's.
        qkv: its queries, keys and values, [B, h, w, 3 · D].
        features: [B, C, h, w].
        batch: the scenes.
        rng: draws tokens.
    """
    parted = qkv.reshape(len(batch), -1, 3, attention.num_heads, qkv.shape[-1] // (3 * attention.num_heads))
    told: dict[str, list[torch.Tensor]] = {"features": [], "values": [], "attention": []}
    for item, feature, tokens in zip(batch, features.flatten(2).transpose(1, 2), parted, strict=True):
        every = item.token_labels.flatten()
        chosen = _tokens(every, rng)
        keys = torch.nonzero(every >= 0).flatten()
        scores = _scores(attention, tokens, chosen, keys)  # [heads, n, k]
        within = scores.masked_fill(every[chosen][:, None] != every[keys], float("-inf")).logsumexp(-1)
        told["features"].append(_contrast(feature[chosen][None], every[chosen]))
        told["values"].append(_contrast(tokens[chosen, 2].transpose(0, 1), every[chosen]))
        told["attention"].append((scores.logsumexp(-1) - within).mean())
    weights = {"features": FEATURES, "values": VALUES, "attention": ATTENTION}
    return {name: weights[name] * torch.stack(parts).mean() for name, parts in told.items()}


def _tokens(labels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Some tokens of the photo, each name as probable as any other, so that stuff does not outvote things."""
    valid = torch.nonzero(labels >= 0).flatten().numpy()
    chances = 1 / np.bincount(labels[valid].numpy())[labels[valid].numpy()]
    return torch.from_numpy(rng.choice(valid, SAMPLED, p=chances / chances.sum()))


def _scores(attention: Upstream, qkv: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """What SAM's attention takes the softmax of, for some queries and keys: [heads, n, k].

    Args:
        attention: the module.
        qkv: [N, 3, heads, d], of a square grid.
        rows: the queries' tokens.
        columns: the keys' tokens.
    """
    grid = round(len(qkv) ** 0.5)
    queries, keys = qkv[rows, 0].transpose(0, 1), qkv[columns, 1].transpose(0, 1)
    scores = queries @ keys.transpose(1, 2) * attention.scale
    tables = (attention.rel_pos_h, rows // grid, columns // grid), (attention.rel_pos_w, rows % grid, columns % grid)
    for table, at, to in tables:
        along = torch.einsum("hnd,nkd->hnk", queries, get_rel_pos(grid, grid, table)[at])  # to each row or column
        scores = scores + along[:, :, to]
    return scores


def _contrast(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The dense contrastive loss of vectors [B, n, d] that share their labels [n]."""
    parts = dense_contrast(F.normalize(vectors, dim=-1), labels.expand(len(vectors), -1))
    return torch.stack(list(parts.values())).sum()
