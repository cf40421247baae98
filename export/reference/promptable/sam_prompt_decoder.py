"""`sam_prompt_decoder`: SAM's prompt encoder and mask decoder as SamPredictor uses them, for prompts of any kind."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ..embed import Upstream
from ..maker import StageMaker, tensor
from .manners import manner_of
from .tensors import taken

if TYPE_CHECKING:
    from ..networks import Networks


DROPPED = -1e4
"""Added to the attention scores of keys that do not count: exp of it is 0, and it fits half precision."""


class KeyBias:
    """The bias of SAM's attention scores while one call lasts: [R, 1, 1, T], 0 or `DROPPED` for each token.

    It goes beside SAM's own transformer, whose forward pass knows no masks, so that this one need not be written again.
    """

    value: torch.Tensor | None = None


class MaskedAttention(nn.Module):
    """One of SAM's attentions over tokens of which some do not count as keys."""

    def __init__(self, attention: Upstream, bias: KeyBias) -> None:
        super().__init__()
        self.attention: Upstream = attention
        self.bias = bias

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """[R, Nq, D] queries, [R, T, D] keys and values → [R, Nq, D]."""
        own = self.attention
        pairs = ((own.q_proj, q), (own.k_proj, k), (own.v_proj, v))
        queries, keys, values = (own._separate_heads(project(x), own.num_heads) for project, x in pairs)
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3) + self.bias.value
        return own.out_proj(own._recombine_heads(scores.softmax(dim=-1) @ values))


class SamPromptDecoder(nn.Module):
    """Points, boxes and masks to all of SAM's masks.

    Padding changes nothing: tokens labelled -1 are left out of every attention, and the "not a point" that SAM itself
    adds to points without a box is added here. So prompts of different kinds and lengths go through in one batch, each
    as if it were alone.
    """

    grid_positions: torch.Tensor

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.manner = manner_of(sam)
        self.prompts: Upstream = sam.prompt_encoder
        self.bias = KeyBias()
        transformer = copy.deepcopy(sam.mask_decoder.transformer)
        for layer in transformer.layers:
            layer.self_attn = MaskedAttention(layer.self_attn, self.bias)
            layer.cross_attn_image_to_token = MaskedAttention(layer.cross_attn_image_to_token, self.bias)
        self.decoder: Upstream = copy.copy(sam.mask_decoder)
        self.decoder._modules = {**sam.mask_decoder._modules, "transformer": transformer}
        self.register_buffer("grid_positions", sam.prompt_encoder.get_dense_pe())

    def forward(
        self,
        sam_features: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
        mask_prompts: torch.Tensor,
        has_mask: torch.Tensor,
        *high_res: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts to masks.

        Args:
            sam_features: [1, 256, S/16, S/16].
            points: [R, N, 2], x y in SAM's pixels.
            labels: [R, N] int32: 1 foreground, 0 background, 2 and 3 the top left and bottom right corners of a box, -1
                padding.
            mask_prompts: [R, 1, S/4, S/4] logits.
            has_mask: [R] bool, whether a prompt has a mask.
            *high_res: the photo's finer features, of models whose decoders take them.

        Returns:
            low-resolution logits [R, 4, S/4, S/4] and IoU estimates [R, 4]: the single mask, then the three of
            SamPredictor's `multimask_output`.
        """
        tokens, counts = self._embed(points, labels)
        outputs = self.manner.own_tokens + self.decoder.num_mask_tokens  # they stand before the prompt's
        kept = torch.cat([torch.ones_like(counts[:, :1]).expand(-1, outputs), counts], dim=1)
        self.bias.value = torch.where(kept, 0.0, DROPPED)[:, None, None]
        dense = torch.where(
            has_mask[:, None, None, None],
            self.prompts.mask_downscaling(mask_prompts),
            self.prompts.no_mask_embed.weight[:, :, None, None],
        )
        masks, iou = self.manner.ask(self.decoder, (sam_features, *high_res), self.grid_positions, tokens, dense)
        self.bias.value = None
        return masks, iou

    def _embed(self, points: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [R, N + 1, 256], the last one SAM's "not a point"; and which of them count, [R, N + 1] bool."""
        height, width = self.prompts.input_image_size
        scaled = (points + 0.5) / points.new_tensor([width, height])  # at pixel centres
        kinds = torch.cat([embedding.weight for embedding in self.prompts.point_embeddings])  # [4, 256]
        tokens = self.prompts.pe_layer._pe_encoding(scaled) + F.embedding(labels.clamp(min=0).long(), kinds)
        no_point = self.prompts.not_a_point_embed.weight.expand(points.shape[0], 1, -1)
        clicked = _any((labels == 0) | (labels == 1))
        boxed = _any(labels > 1)
        padded = clicked | boxed if self.manner.pads_boxes else clicked & ~boxed
        return torch.cat([tokens, no_point], dim=1), torch.cat([labels >= 0, padded], dim=1)


def _any(flags: torch.Tensor) -> torch.Tensor:
    """[R, N] bool → [R, 1] bool. By floats: `any` is exported as a maximum of int64, which TensorRT handles badly."""
    return flags.float().amax(dim=1, keepdim=True) > 0


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    side, mask = networks.dimensions.frame_side, networks.dimensions.mask_side
    labels = "1 foreground, 0 background, 2 and 3 a box's corners, -1 padding"
    first, *finer = taken(networks)
    return (
        first,
        tensor("points", ("R", "N", 2), "prompt, point, x y in SAM's pixels", f"0 to {side}"),
        tensor("labels", ("R", "N"), "prompt, point", labels, "int32"),
        tensor("mask_prompts", ("R", 1, mask, mask), "prompt, mask, y, x", "logits of a round before"),
        tensor("has_mask", ("R",), "prompt", "true or false", "bool"),
        *finer,
    )


def _outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    mask = networks.dimensions.mask_side
    masks = 1 + networks.models["sam"].mask_decoder.num_multimask_outputs
    return (
        tensor("low_res_logits", ("R", masks, mask, mask), "prompt, mask (the single one first), y, x"),
        tensor("iou", ("R", masks), "prompt, mask", "about 0 to 1"),
    )


MAKER = StageMaker(module=lambda networks: SamPromptDecoder(networks.models["sam"]), inputs=_inputs, outputs=_outputs)
