"""Sizes of a promptable model that its engines' contracts show."""

from __future__ import annotations

from ...recipe.pipeline import FixedAxis
from .stages import ENCODER, PROMPT_DECODER

FIXED = (
    *(FixedAxis(ENCODER, "image", axis, lambda recipe, sizes: sizes.sam_side, "sam_side") for axis in (2, 3)),
    *(FixedAxis(ENCODER, "features", axis, lambda recipe, sizes: sizes.sam_grid, "sam_grid") for axis in (2, 3)),
    *(
        FixedAxis(PROMPT_DECODER, "sam_features", axis, lambda recipe, sizes: sizes.sam_grid, "sam_grid")
        for axis in (2, 3)
    ),
    *(
        FixedAxis(PROMPT_DECODER, "mask_prompts", axis, lambda recipe, sizes: sizes.mask_side, "sam_grid")
        for axis in (2, 3)
    ),
)
"""The encoder's input and features, and the decoder's."""
