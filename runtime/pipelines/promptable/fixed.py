"""Sizes of a promptable model that its engines' contracts show."""

from __future__ import annotations

from typing import Any

from ...recipe.pipeline import FixedAxis
from ...recipe.recipe import Recipe
from .stages import DECODER, ENCODER, HIGH_RES, PROMPT_DECODER


def _four_times(recipe: Recipe, sizes: Any) -> int:
    side: int = 4 * sizes.sam_grid
    return side


def _twice(recipe: Recipe, sizes: Any) -> int:
    side: int = 2 * sizes.sam_grid
    return side


FIXED = (
    *(FixedAxis(ENCODER, "image", axis, lambda recipe, sizes: sizes.sam_side, "sam_side") for axis in (2, 3)),
    *(FixedAxis(ENCODER, "features", axis, lambda recipe, sizes: sizes.sam_grid, "sam_grid") for axis in (2, 3)),
    *(
        FixedAxis(PROMPT_DECODER, "sam_features", axis, lambda recipe, sizes: sizes.sam_grid, "sam_grid")
        for axis in (2, 3)
    ),
    *(
        FixedAxis(stage, name, axis, size, "sam_grid")
        for stage in (ENCODER, PROMPT_DECODER)
        for name, size in zip(HIGH_RES, (_four_times, _twice), strict=True)
        for axis in (2, 3)
    ),
    *(
        FixedAxis(stage, "mask_prompts", axis, lambda recipe, sizes: sizes.mask_side, "sam_grid")
        for stage in (PROMPT_DECODER, DECODER)
        for axis in (2, 3)
    ),
)
"""The encoder's input and features, and the decoders'."""
