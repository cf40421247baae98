"""`sam_memory_encoder` and `sam_memory_attention`: what a frame leaves behind, and how a later one reads it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ...models.promptable.memory.attention import in_halves
from ..embed import Upstream
from ..maker import StageMaker, tensor

if TYPE_CHECKING:
    from ..networks import Networks


class MemoryEncoderStage(nn.Module):
    """Features and masks to memories. The features are the image encoder's, as of a frame that reads no memory."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.sam: Upstream = sam

    def forward(
        self,
        features: torch.Tensor,
        mask_logits: torch.Tensor,
        binarise: torch.Tensor,
        *object_score: torch.Tensor,
    ) -> torch.Tensor:
        """[1, C, g, g], [O, 1, K, K], [O] bool and, if memories tell of it, [O, 1] → [O, T, D]."""
        bare = features - self.sam.no_mem_embed.view(1, -1, 1, 1)
        memory: torch.Tensor = self.sam.remember(bare, mask_logits, binarise, *object_score)
        return memory


class MemoryAttentionStage(nn.Module):
    """A frame's features as the memories of objects make them, the rotary pairs in halves."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.sam: Upstream = copy.copy(sam)
        self.sam._modules = {**sam._modules, "memory_attention": in_halves(copy.deepcopy(sam.memory_attention))}

    def forward(
        self,
        features: torch.Tensor,
        memory: torch.Tensor,
        memory_age: torch.Tensor,
        pointers: torch.Tensor,
        pointer_distance: torch.Tensor,
    ) -> torch.Tensor:
        """[1, C, g, g], [O, M, T, D], [M] int32, [O, P, C] and [P] → [O, C, g, g]."""
        bare = features - self.sam.no_mem_embed.view(1, -1, 1, 1)
        seen: torch.Tensor = self.sam.recall(bare, memory, memory_age, pointers, pointer_distance)
        return seen


def _features(networks: Networks) -> TensorSpec:
    grid, channels = networks.dimensions.sam_grid, networks.models["sam"].prompt_encoder.embed_dim
    return tensor("features", (1, channels, grid, grid), "image, channel, y, x")


def _encoder_inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    score = tensor("object_score", ("O", 1), "object, one", "above 0 where it is there")
    return (
        _features(networks),
        tensor("mask_logits", ("O", 1, "K", "K"), "object, mask, y, x", "logits, of the mask's or the image's size"),
        tensor("binarise", ("O",), "object", "true or false", "bool"),
        *((score,) if networks.models["sam"].memory_sizes.occlusion else ()),
    )


def _encoder_outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    sizes = networks.models["sam"].memory_sizes
    return (tensor("memory", ("O", sizes.tokens, sizes.width), "object, token, channel"),)


def _attention_inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    sam = networks.models["sam"]
    sizes = sam.memory_sizes
    channels = sam.prompt_encoder.embed_dim
    return (
        _features(networks),
        tensor("memory", ("O", "M", sizes.tokens, sizes.width), "object, frame, token, channel"),
        tensor("memory_age", ("M",), "frame", "0 of a prompted frame, else 1 to 6 frames ago", "int32"),
        tensor("pointers", ("O", "P", channels), "object, frame, channel"),
        tensor("pointer_distance", ("P",), "frame", "frames ago, as shares of the longest distance"),
    )


def _attention_outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    _, channels, *grid = _features(networks).shape
    return (tensor("conditioned", ("O", channels, *grid), "object, channel, y, x"),)


def _encoder(networks: Networks) -> nn.Module:
    return MemoryEncoderStage(networks.models["sam"])


def _attention(networks: Networks) -> nn.Module:
    return MemoryAttentionStage(networks.models["sam"])


ENCODER_MAKER = StageMaker(module=_encoder, inputs=_encoder_inputs, outputs=_encoder_outputs)
ATTENTION_MAKER = StageMaker(module=_attention, inputs=_attention_inputs, outputs=_attention_outputs)
