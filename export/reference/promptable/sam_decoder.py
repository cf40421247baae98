"""`sam_decoder`: the prompts of regions (points, boxes, masks) to a mask per region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ..embed import Upstream
from ..maker import StageMaker, tensor
from .manners import manner_of
from .tensors import taken

if TYPE_CHECKING:
    from ..networks import Networks


PROMPTS = ("point", "box", "mask")
"""All kinds, in the order in which the decoder takes them."""

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

    def __init__(self, sam: Upstream, as_published: bool, kinds: Sequence[str] = ("point", "box", "mask")) -> None:
        """`kinds`: which prompts the decoder takes."""
        super().__init__()
        self.kinds = [kind for kind in PROMPTS if kind in kinds]
        self.manner = manner_of(sam)
        self.prompts: Upstream = sam.prompt_encoder
        self.decoder: Upstream = self.manner.lean(sam.mask_decoder)
        layers = [
            HeightNorm(layer) if as_published and type(layer).__name__ == "LayerNorm2d" else layer
            for layer in sam.prompt_encoder.mask_downscaling
        ]
        self.downscale = nn.Sequential(*layers)
        self.register_buffer("grid_positions", sam.prompt_encoder.get_dense_pe())

    def forward(self, sam_features: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts to masks.

        Args:
            sam_features: [1, 256, S/16, S/16].
            *others: the prompts of the kinds that the decoder takes, in this order: points [R, 2], x y in SAM's pixels,
                foreground; boxes [R, 4], x₀ y₀ x₁ y₁ in SAM's pixels; mask prompts [R, 1, S/4, S/4] logits. Then the
                photo's finer features, of models whose decoders take them.

        Returns:
            low-resolution logits [R, 1, S/4, S/4]; IoU estimates [R].
        """
        given, high_res = dict(zip(self.kinds, others, strict=False)), others[len(self.kinds) :]
        regions = others[0].shape[0]
        sparse, dense = self._sparse(given, regions), self._dense(given, regions)
        features = (sam_features, *high_res)
        masks, iou = self.manner.ask_one(self.decoder, features, self.grid_positions, sparse, dense)
        return masks, iou[:, 0]

    def _sparse(self, given: dict[str, torch.Tensor], regions: int) -> torch.Tensor:
        """[R, T, 256]: the point and the box's two corners. SAM pads a point without a box, SAM 2 whatever there is."""
        parts = []
        if "point" in given:
            parts.append(self._at(given["point"][:, None], FOREGROUND))
        if "box" in given:
            corners = given["box"].view(-1, 2, 2)
            parts += [self._at(corners[:, :1], TOP_LEFT), self._at(corners[:, 1:], BOTTOM_RIGHT)]
        if parts and ("box" not in given or self.manner.pads_boxes):
            parts.append(self.prompts.not_a_point_embed.weight.expand(regions, 1, -1))
        return torch.cat(parts, dim=1) if parts else self.prompts.no_mask_embed.weight.expand(regions, 1, -1)[:, :0]

    def _dense(self, given: dict[str, torch.Tensor], regions: int) -> torch.Tensor:
        """[R, 256, S/16, S/16]."""
        if "mask" in given:
            return self.downscale(given["mask"])
        none: torch.Tensor = self.prompts.no_mask_embed.weight.view(1, -1, 1, 1)
        return none.expand(regions, -1, *self.prompts.image_embedding_size)

    def _at(self, places: torch.Tensor, kind: int) -> torch.Tensor:
        """[R, 1, 2] x y in SAM's pixels → [R, 1, 256], at pixel centres."""
        height, width = self.prompts.input_image_size
        scaled = (places + 0.5) / places.new_tensor([width, height])
        embedded: torch.Tensor = self.prompts.pe_layer._pe_encoding(scaled) + self.prompts.point_embeddings[kind].weight
        return embedded


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    side, mask = networks.dimensions.frame_side, networks.dimensions.mask_side
    pixels = f"0 to {side}"
    prompts = {
        "point": tensor("points", ("R", 2), "region, x y in SAM's pixels", pixels),
        "box": tensor("boxes", ("R", 4), "region, x0 y0 x1 y1 in SAM's pixels", pixels),
        "mask": tensor("mask_prompts", ("R", 1, mask, mask), "region, mask, y, x", "0 to 1 times mask_prompt_scale"),
    }
    chosen = [spec for kind, spec in prompts.items() if kind in networks.recipe.parameters.prompts]
    first, *finer = taken(networks)
    return (first, *chosen, *finer)


def _outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    mask = networks.dimensions.mask_side
    return (
        tensor("low_res_logits", ("R", 1, mask, mask), "region, mask, y, x"),
        tensor("iou", ("R",), "region", "about 0 to 1"),
    )


def _module(networks: Networks) -> SamDecoder:
    parameters = networks.recipe.parameters
    return SamDecoder(networks.models["sam"], parameters.as_published, parameters.prompts)


MAKER = StageMaker(module=_module, inputs=_inputs, outputs=_outputs)
