"""The losses of SAM's encoder alone: what its last block says about which tokens belong together."""

from __future__ import annotations

import math
from collections.abc import Callable

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

OWN = 0.5
"""Of a token's attention, the share that should be its own."""
NEAR = 4.0
"""Standard deviation of the rest, in tokens."""

AttentionLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Judges attention by its logarithm [heads, n, k], which keys have a query's name, [n, k] bool, and the square of their
distance from it, [n, k] in tokens."""


def within(attention: torch.Tensor, same: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
    """Attention should stay within a name: −log of its share there, in every head.

    It is least where a token attends to itself alone.
    """
    return -attention.masked_fill(~same, float("-inf")).logsumexp(-1).mean()


def near(attention: torch.Tensor, same: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
    """Attention should be a token's own in part, and for the rest go to its name nearby.

    What is wrong by this: KL(wanted ‖ the heads' mean), in nats. Even attention all over a name, tried before, mixes
    more of other names in, and made the coarse mask worse.
    """
    weights = same * (-squared / (2 * NEAR**2)).exp()
    wanted = OWN * (squared == 0) + (1 - OWN) * weights / weights.sum(-1, keepdim=True)
    log_mean = attention.logsumexp(0) - math.log(len(attention))
    return (torch.xlogy(wanted, wanted) - wanted * log_mean).sum(-1).mean()


def encoder_losses(
    attention: Upstream,
    qkv: torch.Tensor,
    features: torch.Tensor,
    batch: list[Prompted],
    rng: np.random.Generator,
    attention_loss: AttentionLoss,
) -> dict[str, torch.Tensor]:
    """Tokens of one name are alike and others are not: in the features, and where the affinity is read.

    The affinity is the last block's attention where its values are alike; so values are compared in every head, and
    attention is judged too.

    Args:
        attention: the last block's.
        qkv: its queries, keys and values, [B, h, w, 3 · D].
        features: [B, C, h, w].
        batch: the scenes.
        rng: draws tokens.
        attention_loss: of a token's attention.
    """
    parted = qkv.reshape(len(batch), -1, 3, attention.num_heads, qkv.shape[-1] // (3 * attention.num_heads))
    told: dict[str, list[torch.Tensor]] = {"features": [], "values": [], "attention": []}
    for item, feature, tokens in zip(batch, features.flatten(2).transpose(1, 2), parted, strict=True):
        every = item.token_labels.flatten()
        chosen = _tokens(every, rng)
        keys = torch.nonzero(every >= 0).flatten()
        scores = _scores(attention, tokens, chosen, keys)  # [heads, n, k]
        told["features"].append(_contrast(feature[chosen][None], every[chosen]))
        told["values"].append(_contrast(tokens[chosen, 2].transpose(0, 1), every[chosen]))
        same, squared = every[chosen][:, None] == every[keys], _squared_distance(chosen, keys, features.shape[-1])
        told["attention"].append(attention_loss(scores.log_softmax(-1), same, squared))
    weights = {"features": FEATURES, "values": VALUES, "attention": ATTENTION}
    return {name: weights[name] * torch.stack(parts).mean() for name, parts in told.items()}


def _squared_distance(rows: torch.Tensor, columns: torch.Tensor, width: int) -> torch.Tensor:
    """[n, k] between tokens of a grid of that width."""
    down = rows[:, None] // width - columns // width
    across = rows[:, None] % width - columns % width
    return down**2 + across**2


def _tokens(labels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Some tokens of the photo, each name as probable as any other, so that stuff does not outvote things."""
    known = labels.cpu().numpy()
    valid = np.flatnonzero(known >= 0)
    chances = 1 / np.bincount(known[valid])[known[valid]]
    return torch.from_numpy(rng.choice(valid, SAMPLED, p=chances / chances.sum())).to(labels.device)


def _scores(attention: Upstream, qkv: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Scores that SAM's attention takes the softmax of, for some queries and keys: [heads, n, k].

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
