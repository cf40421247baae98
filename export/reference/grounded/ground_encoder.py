"""Grounding DINO's encoder: photo and words see each other, then each itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..embed import Upstream
from .ground_parts import Sampler, attend, heads, joined


def deformed(
    attention: Upstream, sampler: Sampler, queries: torch.Tensor, features: torch.Tensor, valid: torch.Tensor,
    centres: torch.Tensor, reach: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Deformable attention with transformers' layers.

    Args:
        attention: a `GroundingDinoMultiscaleDeformableAttention`.
        sampler: of the image's levels.
        queries: [Q, D], positions added.
        features: [S, D], of all levels.
        valid: [S, 1] bool, which of these lie in the photo.
        centres: [Q, 1, levels, 1, 2], where each query looks, 0 to 1.
        reach: what a unit of offset is, in the same measure; broadcast against [Q, heads, levels, points, 2].

    Returns:
        [Q, D].
    """
    count, grid = attention.n_heads, (attention.n_heads, attention.n_levels, attention.n_points)
    values = torch.where(valid, attention.value_proj(features), 0.0)
    offsets = attention.sampling_offsets(queries).unflatten(-1, (*grid, 2))
    shares = F.softmax(attention.attention_weights(queries).unflatten(-1, (count, -1)), -1)
    sampled = sampler(heads(values, count), centres + offsets * reach, shares.unflatten(-1, grid[1:]))
    out: torch.Tensor = attention.output_proj(sampled)
    return out


def fused(
    layer: Upstream, features: torch.Tensor, words: torch.Tensor, added: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Photo and words after they have seen each other.

    Transformers takes the largest score of the whole batch from all, and clamps what is left: a softmax is the same
    without both, and does not depend on who else is in the batch.

    Args:
        layer: a `GroundingDinoFusionLayer`.
        features: [S, D].
        words: [L, D].
        added: [S] to the scores that words give the photo's places.
    """
    seen, read, attention = layer.layer_norm_vision(features), layer.layer_norm_text(words), layer.attn
    count = attention.num_heads
    queries = heads(attention.vision_proj(seen) * attention.scale, count)
    scores = queries @ heads(attention.text_proj(read), count).transpose(1, 2)
    of_photo = F.softmax(scores, -1) @ heads(attention.values_text_proj(read), count)
    of_words = F.softmax(scores.transpose(1, 2) + added, -1) @ heads(attention.values_vision_proj(seen), count)
    return (
        seen + layer.vision_param * attention.out_vision_proj(joined(of_photo)),
        read + layer.text_param * attention.out_text_proj(joined(of_words)),
    )


def enhanced(layer: Upstream, words: torch.Tensor, positions: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Words after they have seen the others of their phrase: [L, D].

    Args:
        layer: a `GroundingDinoTextEnhancerLayer`.
        words: [L, D].
        positions: [L, D], added to queries and keys.
        added: [L, L] to their scores.
    """
    placed, attention = words + positions, layer.self_attn
    seen = attend(attention, attention.num_attention_heads, placed, placed, words, added)
    words = layer.layer_norm_before(words + attention.out_proj(seen))
    out: torch.Tensor = layer.layer_norm_after(layer.fc2(layer.activation(layer.fc1(words))) + words)
    return out


def fed(layer: Upstream, states: torch.Tensor) -> torch.Tensor:
    """The feed-forward half of a layer of encoder or decoder, with its norm."""
    out: torch.Tensor = layer.final_layer_norm(states + layer.fc2(layer.activation_fn(layer.fc1(states))))
    return out
