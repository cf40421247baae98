"""Sizes that engines fix and the geometry of photos needs. A bundle's manifest keeps them."""

from __future__ import annotations

from typing import Annotated

import msgspec


class SamDimensions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of SAM's engines. Pixels, unless said otherwise."""

    sam_side: int = 0
    """Side of SAM's square input; 0 without SAM."""
    sam_grid: int = 0
    """Tokens along a side of SAM's input."""
    sam_padding: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB value, 0 to 255, that SAM's normalisation maps to zero."""

    @property
    def mask_side(self) -> int:
        """Side of SAM's mask prompts and low-resolution masks: four times its grid."""
        return 4 * self.sam_grid


class Dimensions(SamDimensions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes that the training-free pipeline's engines fix. Pixels, unless said otherwise."""

    clip_patch: Annotated[int, msgspec.Meta(ge=1)]
    """Side of CLIP's patches."""
    feature_grid: tuple[int, int]
    """Rows and columns of a window's features."""
    embedding: int
    """Length of a text embedding, E."""
    context_length: int
    """Tokens of a text."""
