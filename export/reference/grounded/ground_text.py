"""Grounding DINO's text stage: BERT and the projection into the detector's space. No word sees the image here."""

from __future__ import annotations

import torch
from torch import nn

from ..embed import Upstream
from .ground_parts import attend, shut


class GroundText(nn.Module):
    """BERT, whose tokens see those of their own phrase alone."""

    def __init__(self, model: Upstream) -> None:
        """On transformers' `GroundingDinoForObjectDetection`."""
        super().__init__()
        self.bert: Upstream = model.model.text_backbone
        self.projection: Upstream = model.model.text_projection

    def forward(self, tokens: torch.Tensor, position_ids: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """Features of tokens.

        Args:
            tokens: [1, L] int32.
            position_ids: [1, L] int32, counted from 0 in each phrase.
            attends: [1, L, L] bool, who sees whom.

        Returns:
            [1, L, D].
        """
        table = self.bert.embeddings
        states = table.word_embeddings(tokens[0]) + table.token_type_embeddings.weight[0]
        states = table.LayerNorm(states + table.position_embeddings(position_ids[0]))
        added = shut(attends[0])
        for layer in self.bert.encoder.layer:
            attention = layer.attention
            seen = attend(attention.self, attention.self.num_attention_heads, states, states, states, added)
            states = layer.feed_forward_chunk(attention.output(seen, states))
        features: torch.Tensor = self.projection(states)[None]
        return features
