"""Models that say which pixels belong together: DINO, DINOv2 and DINOv3 by timm, or SAM's encoder in their place."""

from __future__ import annotations

import timm
from torch import nn

from .checkpoints.dino_names import DINO_NAMINGS
from .checkpoints.fitting import Reading
from .checkpoints.positions import VIT_POSITIONS
from .checkpoints.sam_names import SAM_NAMINGS
from .families import MICRO, TINY, ModelFamily, StateDict
from .miniature.networks import build_dino
from .sam import build_sam, pretrained_sam

SAM_EXTRACTORS = {"sam_vit_b": "vit_b", "sam_vit_l": "vit_l", "sam_vit_h": "vit_h"}
"""SAM's encoder in DINO's place, by the name that a [dino] table gives it."""

EXTRACTORS = (
    *(f"vit_{size}_patch{patch}_224.dino" for size in ("small", "base") for patch in (8, 16)),
    *(f"vit_{size}_patch14_{kind}.lvd142m" for size in ("small", "base") for kind in ("dinov2", "reg4_dinov2")),
    *(f"vit_{size}_patch16_dinov3.lvd1689m" for size in ("small", "base")),
    *SAM_EXTRACTORS,
)
"""Models for a [dino] table; those of timm by its names."""


def _build(name: str) -> nn.Module:
    if name == TINY:
        return build_dino()
    if name in SAM_EXTRACTORS:
        return build_sam(SAM_EXTRACTORS[name])
    if name != MICRO:
        return timm.create_model(name, pretrained=False)
    return timm.models.VisionTransformer(img_size=64, patch_size=8, embed_dim=64, depth=3, num_heads=4, num_classes=0)


def _pretrained(name: str, tag: str) -> StateDict:
    if name in SAM_EXTRACTORS:
        return pretrained_sam(SAM_EXTRACTORS[name], tag)
    return timm.create_model(name, pretrained=True).state_dict()


def _reading(name: str) -> Reading:
    return Reading(SAM_NAMINGS) if name in SAM_EXTRACTORS else Reading(DINO_NAMINGS, (VIT_POSITIONS,))


DINO = ModelFamily(lambda: [MICRO, TINY, *EXTRACTORS], _build, _pretrained, reading=_reading)
