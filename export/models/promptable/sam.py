"""SAM around another image encoder: the prompt encoder and the mask decoder are segment_anything's own."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn


class DecoderSizes(NamedTuple):
    """Sizes of SAM's prompt encoder and mask decoder; the published ones by default."""

    frame: int = 1024
    """Side of the square of prompts and masks, in pixels."""
    grid: int = 64
    """Features along a side of it."""
    channels: int = 256
    heads: int = 8
    mlp: int = 2048
    iou: int = 256
    """Width of the head that estimates IoUs."""


SMALLEST = DecoderSizes(frame=256, grid=16, channels=64, heads=4, mlp=128, iou=64)
"""For tests."""


class FramedSam(Sam):
    """SAM whose image encoder may take the photo in another size than the square of prompts and masks."""

    def postprocess_masks(
        self, masks: torch.Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]
    ) -> torch.Tensor:
        """Low-resolution logits [R, M, m, m] to the photo's size; as SAM's own, in the square of the prompts."""
        square = F.interpolate(masks, self.prompt_encoder.input_image_size, mode="bilinear", align_corners=False)
        valid = square[..., : input_size[0], : input_size[1]]
        return F.interpolate(valid, original_size, mode="bilinear", align_corners=False)


def sam_around(image_encoder: nn.Module, sizes: DecoderSizes = DecoderSizes(), **norm: Any) -> FramedSam:  # noqa: B008
    """SAM with an image encoder, which has `img_size`, the side of its input.

    Args:
        image_encoder: gives features [1, channels, grid, grid] of a normalised image.
        sizes: of all else.
        **norm: `eps`, where the layer norms of the decoder's transformer have another than PyTorch's.
    """
    square = (sizes.frame, sizes.frame)
    transformer = TwoWayTransformer(
        depth=2, embedding_dim=sizes.channels, num_heads=sizes.heads, mlp_dim=sizes.mlp
    )  # fmt: skip
    for module in transformer.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = norm.get("eps", module.eps)
    return FramedSam(
        image_encoder=image_encoder,
        prompt_encoder=PromptEncoder(sizes.channels, (sizes.grid, sizes.grid), square, mask_in_chans=16),
        mask_decoder=MaskDecoder(
            transformer_dim=sizes.channels, transformer=transformer, iou_head_hidden_dim=sizes.iou
        ),
    )
