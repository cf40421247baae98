"""The promptable models, as rows: what a recipe may ask of each, before any weights are there.

How a model is built and how its image encoder becomes a stage is the build box's part (`export.models.sam`); its sizes
are in the manifest. A model that has no row comes from another package, and is judged when it is exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ...errors import RecipeError
from ...recipe.recipe import Recipe

READ, COSINE = ("affinity", "attention"), "cosine"
"""Kinds of affinity that are read from SAM's last global attention, and the one that any features give."""

APACHE = "Apache-2.0"


class PromptableModel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    affinities: tuple[str, ...] = (COSINE,)
    """The kinds of affinity that it can give, values of the parameter `affinity_kind`."""
    stretches: bool = False
    """Whether it sees the photo stretched over its square, so that `as_published` prompts would miss it."""
    remembers: bool = False
    """Whether it has a memory, so that it can track through a video."""
    licence: str = APACHE
    """SPDX name of the licence of its code and of its published weights."""
    source: str
    """Where it was published."""


SAM = PromptableModel(affinities=(*READ, COSINE), source="Kirillov et al., Segment Anything, ICCV 2023")

MOBILE_SAM = PromptableModel(
    source="Zhang et al., Faster Segment Anything: Towards Lightweight SAM for Mobile Applications, 2023"
)

EFFICIENTVIT_SAM = PromptableModel(
    source="Zhang et al., EfficientViT-SAM: Accelerated Segment Anything Model Without Performance Loss, CVPR 2024 "
    "workshops"
)

EDGETAM = PromptableModel(stretches=True, source="Zhou et al., EdgeTAM: On-Device Track Anything Model, CVPR 2025")

SAM2 = PromptableModel(stretches=True, source="Ravi et al., SAM 2: Segment Anything in Images and Videos, ICLR 2025")

SAM2_VIDEO, EDGETAM_VIDEO = (msgspec.structs.replace(row, remembers=True) for row in (SAM2, EDGETAM))

SAM2_SIZES = ("tiny", "small", "base_plus", "large")

MODELS: Mapping[str, PromptableModel] = {
    **dict.fromkeys(("micro", "tiny", "vit_b", "vit_l", "vit_h"), SAM),
    **dict.fromkeys(("mobile_sam", "micro_mobile_sam"), MOBILE_SAM),
    **dict.fromkeys(("efficientvit_sam_l0", "efficientvit_sam_l1", "micro_efficientvit_sam"), EFFICIENTVIT_SAM),
    **dict.fromkeys(("edgetam", "micro_edgetam"), EDGETAM),
    **dict.fromkeys((*(f"sam2.1_hiera_{size}" for size in SAM2_SIZES), "micro_sam2"), SAM2),
    **dict.fromkeys((f"sam2{release}_hiera_{size}_video" for release in ("", ".1") for size in SAM2_SIZES), SAM2_VIDEO),
    **dict.fromkeys(("micro_sam2_video", "tiny_sam2"), SAM2_VIDEO),
    **dict.fromkeys(("edgetam_video", "micro_edgetam_video"), EDGETAM_VIDEO),
}
"""By the name that a [sam] table gives."""


def licence_of(name: str) -> str:
    """The licence of a promptable model; empty where this package does not know it."""
    return MODELS[name].licence if name in MODELS else ""


def refuse_affinity(recipe: Recipe, kind: str, others: Iterable[str]) -> None:
    """Refuse a kind of affinity that the recipe's promptable model cannot give.

    Args:
        recipe: has a [sam] table.
        kind: the kind that the recipe asks for.
        others: methods that only refine.

    Raises:
        RecipeError: says what to use instead.
    """
    name = recipe.models["sam"].model
    row = MODELS.get(name)
    if row is None or kind in row.affinities:
        return
    raise RecipeError(
        f"sam model {name!r} has no global attention that affinity_kind={kind!r} could be read from. Set "
        f"affinity_kind={row.affinities[0]!r} in [parameters], or choose a method that only refines "
        f"({', '.join(others)}), or a SAM with a vision transformer, such as 'vit_b'."
    )


def stretches(recipe: Recipe) -> bool:
    """Whether a recipe's promptable model sees the photo stretched over its square."""
    name = recipe.models["sam"].model if "sam" in recipe.models else ""
    return name in MODELS and MODELS[name].stretches


def refuse_as_published(recipe: Recipe) -> None:
    """Refuse Trident's way to scale prompts where the recipe's promptable model stretches the photo.

    Args:
        recipe: has a [sam] table.

    Raises:
        RecipeError: says what to use instead.
    """
    name = recipe.models["sam"].model
    if stretches(recipe):
        raise RecipeError(
            f"as_published scales prompts as if the photo kept its shape, and sam model {name!r} sees it stretched "
            f"over a square. Set as_published=false in [parameters], or choose a SAM, such as 'vit_b'."
        )
