"""`sam_decoder`: a point, a box and a mask prompt per region to a mask per region."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .embed import Upstream

FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = 1, 2, 3
"""Rows of SAM's point embeddings."""


class HeightNorm(nn.Module):
    """SAM's LayerNorm2d applied along the height instead of the channels.

    Trident's published code passes the mask prompt without its batch axis; the norm then takes [C, H, W] for
    [B, C, H, W] and normalises over H. Batched, that is the mean and variance over axis 2, with the same weights.
    """

    def __init__(self, norm: Upstream) -> None:
        super().__init__()
        self.norm: Upstream = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[R, C, H, W] → the same shape."""
        mean = x.mean(dim=2, keepdim=True)
        variance = (x - mean).pow(2).mean(dim=2, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + self.norm.eps)
        return self.norm.weight[:, None, None] * x + self.norm.bias[:, None, None]


class SamDecoder(nn.Module):
    """SAM's prompt encoder and mask decoder for a batch of regions, single-mask output.

    The prompt encoder's own `forward` assigns through boolean masks, which exports badly; this composes its parts.
    """

    grid_positions: torch.Tensor

    def __init__(self, sam: Upstream, as_published: bool) -> None:
        super().__init__()
        self.prompts: Upstream = sam.prompt_encoder
        self.decoder: Upstream = copy.copy(sam.mask_decoder)
        self.decoder.num_mask_tokens = 1  # all tokens still attend; masks are made of the first alone
        layers = [
            HeightNorm(layer) if as_published and type(layer).__name__ == "LayerNorm2d" else layer
            for layer in sam.prompt_encoder.mask_downscaling
        ]
        self.downscale = nn.Sequential(*layers)
        self.register_buffer("grid_positions", sam.prompt_encoder.get_dense_pe())

    def forward(
        self, sam_features: torch.Tensor, points: torch.Tensor, boxes: torch.Tensor, mask_prompts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts to masks.

        Args:
            sam_features: [1, 256, S/16, S/16].
            points: [R, 2], x y in SAM's pixels, foreground.
            boxes: [R, 4], x₀ y₀ x₁ y₁ in SAM's pixels.
            mask_prompts: [R, 1, S/4, S/4] logits.

        Returns:
            low-resolution logits [R, 1, S/4, S/4]; IoU estimates [R].
        """
        masks, iou = self.decoder(
            image_embeddings=sam_features,
            image_pe=self.grid_positions,
            sparse_prompt_embeddings=self._embed(points, boxes),
            dense_prompt_embeddings=self.downscale(mask_prompts),
            multimask_output=False,
        )
        return masks, iou[:, 0]

    def _embed(self, points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """[R, 3, 256]: the point and the box's two corners, at pixel centres."""
        places = torch.cat([points[:, None], boxes.view(-1, 2, 2)], dim=1) + 0.5
        height, width = self.prompts.input_image_size
        scaled = places / torch.tensor([width, height], dtype=places.dtype)
        embedding = self.prompts.pe_layer._pe_encoding(scaled)
        kinds = [self.prompts.point_embeddings[kind].weight for kind in (FOREGROUND, TOP_LEFT, BOTTOM_RIGHT)]
        return embedding + torch.cat(kinds)
