"""Grounding DINO's detector stage: a photo and the features of tokens to boxes and a logit for each token.

github.com/IDEA-Research/GroundingDINO (Apache-2.0), as transformers' `GroundingDinoForObjectDetection` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..embed import Upstream
from .ground_encoder import deformed, enhanced, fed, fused
from .ground_parts import Levels, Sampler, attend, projected, shut, sines, waves

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

EPSILON = 1e-5
"""Transformers keeps boxes so far from 0 and 1 between its layers. Here they stay before their sigmoid."""

OUTSIDE = 1000.0
"""A proposal that does not count, before its sigmoid; transformers has infinity, which half precision cannot bear."""


class Frame(NamedTuple):
    """How the photo lies in the image, on all levels."""

    valid: torch.Tensor
    """[S, 1] bool."""
    positions: torch.Tensor
    """[S, D], added to queries."""
    places: torch.Tensor
    """[S, 2], x and y of each place as a share of the photo."""
    ratios: torch.Tensor
    """[levels, 2], the photo's share of the image, x and y."""


class GroundDetector(nn.Module):
    """Image tower, encoder, choice of queries, decoder."""

    text_positions: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    grid_waves: torch.Tensor
    box_waves: torch.Tensor
    proposed_sizes: torch.Tensor
    sides: torch.Tensor

    def __init__(self, model: Upstream, size: tuple[int, int]) -> None:
        """On transformers' `GroundingDinoForObjectDetection`, for images of one size: height and width in pixels."""
        super().__init__()
        self.whole: Upstream = model
        config = model.config
        self.levels = Levels(*size, 2 ** (config.backbone_config.out_indices[0] + 1),
                             config.num_feature_levels)  # fmt: skip
        self.height, self.width, self.queries, half = *size, config.num_queries, config.d_model // 2
        self.in_encoder = Sampler(self.levels, config.encoder_attention_heads)
        self.in_decoder = Sampler(self.levels, config.decoder_attention_heads)
        steps = torch.arange(config.max_text_len, dtype=torch.float32)[:, None]
        self.register_buffer("text_positions", sines(steps, waves(config.d_model)))
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION)[:, None, None])
        self.register_buffer("grid_waves", waves(half, config.positional_embedding_temperature))
        self.register_buffer("box_waves", waves(half))
        proposed = [torch.full((h * w, 2), 0.05 * 2.0**level) for level, (h, w) in enumerate(self.levels.shapes)]
        self.register_buffer("proposed_sizes", torch.cat(proposed))
        sides = torch.tensor([[w, h] for h, w in self.levels.shapes], dtype=torch.float32)
        self.register_buffer("sides", sides)
        bounds = torch.special.logit(torch.tensor([0.0, 1.0]), eps=EPSILON)
        self.least, self.most = float(bounds[0]), float(bounds[1])

    def forward(
        self,
        image: torch.Tensor,
        extent: torch.Tensor,
        text_features: torch.Tensor,
        position_ids: torch.Tensor,
        attends: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes, and how well each fits each token.

        Args:
            image: [1, 3, H, W], RGB in [0, 255], the photo top left.
            extent: [2] int32, height and width of the photo in the image, in pixels.
            text_features: [1, L, D], of the text stage.
            position_ids: [1, L] int32.
            attends: [1, L, L] bool.

        Returns:
            Logits [1, Q, L] before the sigmoid; boxes [1, Q, 4], cx cy w h as shares of the photo.
        """
        model, size = self.whole.model, extent.to(torch.float32)
        inside = [self._inside(level, size) for level in range(len(self.levels.shapes))]
        frame = self._frame(inside)
        features = self._features(image, size, inside)
        positions = F.embedding(position_ids[0], self.text_positions)
        words, between = text_features[0], shut(attends[0])
        away, unit = shut(frame.valid[:, 0]), 1 / self.sides[None, None, :, None]
        centres = frame.places[:, None, None, None] * frame.ratios[None, None, :, None]
        for layer in model.encoder.layers:
            features, words = fused(layer.fusion_layer, features, words, away)
            words = enhanced(layer.text_enhancer_layer, words, positions, between)
            block = layer.deformable_layer
            seen = deformed(
                block.self_attn, self.in_encoder, features + frame.positions, features, frame.valid, centres, unit
            )
            features = fed(block, block.self_attn_layer_norm(features + seen))
        states, boxes = self._decoded(features, words, frame, self._proposed(features, words, frame))
        return (states @ words.T)[None], boxes.sigmoid()[None]

    def _inside(self, level: int, size: torch.Tensor) -> torch.Tensor:
        """[h, w] bool, which cells of a level lie in the photo."""
        rows, columns = self.levels.rows[level] < size[0], self.levels.columns[level] < size[1]
        return rows[:, None] & columns

    def _features(self, image: torch.Tensor, size: torch.Tensor, inside: Sequence[torch.Tensor]) -> torch.Tensor:
        """[S, D], of all levels. A level that the tower lacks is made of the one before."""
        model = self.whole.model
        rows, columns = torch.arange(self.height)[:, None] < size[0], torch.arange(self.width) < size[1]
        pixels = torch.where(rows & columns, (image - self.mean) / self.deviation, 0.0)
        maps: list[torch.Tensor] = list(model.backbone.conv_encoder.model(pixels).feature_maps)
        found = []
        for level, project in enumerate(model.input_proj_vision):
            of = min(level, len(maps) - 1)
            made = projected(project, maps[of], inside[of], inside[level])
            found.append(made[0].flatten(1).T)
            if level >= len(maps):
                maps.append(made)
        return torch.cat(found)

    def _frame(self, inside: Sequence[torch.Tensor]) -> Frame:
        parts = [self._level(level, cells) for level, cells in enumerate(inside)]
        valid, positions, places, ratios = zip(*parts, strict=True)
        return Frame(torch.cat(valid), torch.cat(positions), torch.cat(places), torch.stack(ratios))

    def _level(self, level: int, inside: torch.Tensor) -> Frame:
        """The photo on one level, with that level's embedding in its positions."""
        counts = torch.stack((inside[0].sum(dtype=torch.float32), inside[:, 0].sum(dtype=torch.float32)))
        height, width = self.levels.shapes[level]
        x, y = torch.arange(1.0, width + 1), torch.arange(1.0, height + 1)
        along = sines(self._share(x, counts[0])[:, None], self.grid_waves)
        down = sines(self._share(y, counts[1])[:, None], self.grid_waves)
        both = torch.cat((down[:, None].expand(-1, width, -1), along[None].expand(height, -1, -1)), -1).flatten(0, 1)
        places = torch.stack((
            ((x - 0.5) / counts[0])[None].expand(height, -1), ((y - 0.5) / counts[1])[:, None].expand(-1, width)
        ), -1)  # fmt: skip
        positions = both + self.whole.model.level_embed[level]
        return Frame(inside.reshape(-1, 1), positions, places.flatten(0, 1), counts / self.sides[level])

    @staticmethod
    def _share(steps: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        """A place as a share of the photo, as counted by transformers: up to 1, and 1 behind the photo's end."""
        return torch.minimum(steps, count) / (count + 1e-6)

    def _proposed(self, features: torch.Tensor, words: torch.Tensor, frame: Frame) -> torch.Tensor:
        """The boxes that the decoder begins with, [Q, 4] before the sigmoid: those places that fit some word best."""
        model = self.whole.model
        boxes = torch.cat((frame.places, self.proposed_sizes), -1)
        inside = (boxes > 0.01) & (boxes < 0.99)
        counts = inside[:, :1] & inside[:, 1:2] & inside[:, 2:3] & frame.valid
        within = boxes.clamp(0.01, 0.99)
        begun = torch.where(counts, torch.log(within / (1 - within)), OUTSIDE)
        objects = model.enc_output_norm(model.enc_output(torch.where(counts, features, 0.0)))
        chosen = (objects @ words.T).amax(-1).topk(self.queries).indices
        refined = model.encoder_output_bbox_embed(F.embedding(chosen, objects)) + F.embedding(chosen, begun)
        return refined.clamp(-OUTSIDE, OUTSIDE)

    def _decoded(
        self, features: torch.Tensor, words: torch.Tensor, frame: Frame, boxes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """States [Q, D] behind the norm, and boxes [Q, 4] before the sigmoid."""
        decoder, states = self.whole.model.decoder, self.whole.model.query_position_embeddings.weight
        doubled = torch.cat((frame.ratios, frame.ratios), -1)
        for layer, refine in zip(decoder.layers, self.whole.bbox_embed, strict=True):
            shares = boxes.sigmoid()
            scaled = shares[:, None] * doubled
            y_first = shares[:, [1, 0, 2, 3]]  # of the photo, not of what it is padded to: as of a photo by itself
            where = decoder.reference_points_head(sines(y_first[..., None], self.box_waves).flatten(1))
            states = self._layer(layer, states, where, features, words, frame, scaled)
            before = boxes.clamp(self.least, self.most)
            boxes = refine(states) + before
        normed = decoder.layer_norm(states)
        return normed, self.whole.bbox_embed[-1](normed) + before

    def _layer(
        self, layer: Upstream, states: torch.Tensor, where: torch.Tensor, features: torch.Tensor,
        words: torch.Tensor, frame: Frame, boxes: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """One layer of the decoder; `boxes` are [Q, levels, 4] as shares of the image."""
        placed, own, text = states + where, layer.self_attn, layer.encoder_attn_text
        seen = own.out_proj(attend(own, own.num_attention_heads, placed, placed, states))
        states = layer.self_attn_layer_norm(states + seen)
        read = text.out_proj(attend(text, text.num_attention_heads, states + where, words, words))
        states = layer.encoder_attn_text_layer_norm(states + read)
        centres, reach = boxes[:, None, :, None, :2], boxes[:, None, :, None, 2:] * (0.5 / layer.encoder_attn.n_points)
        found = deformed(layer.encoder_attn, self.in_decoder, states + where, features, frame.valid, centres, reach)
        return fed(layer, layer.encoder_attn_layer_norm(states + found))
