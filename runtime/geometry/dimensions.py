"""Sizes that engines fix and the geometry of photos needs. A bundle's manifest keeps them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .limits import CONTEXT, EMBEDDING, GRID, MODEL_SIDE

Side = Annotated[int, msgspec.Meta(ge=0, le=MODEL_SIDE)]
Cells = Annotated[int, msgspec.Meta(ge=1, le=GRID)]
LOGIT = 1e4
"""No model's logits are cut beyond it."""
Level = Annotated[float, msgspec.Meta(ge=0, le=255)]


class SamDimensions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of SAM's engines. Pixels, unless said otherwise."""

    sam_side: Side = 0
    """Side of SAM's square input; 0 without SAM."""
    sam_frame_side: Side = 0
    """Side of the square in which SAM's prompts and masks lie, where it is another than the input's; else 0."""
    sam_grid: Annotated[int, msgspec.Meta(ge=0, le=GRID)] = 0
    """Tokens along a side of SAM's input."""
    sam_padding: tuple[Level, Level, Level] = (0.0, 0.0, 0.0)
    """RGB value, 0 to 255, that SAM's normalisation maps to zero."""

    sam_stretch: bool = False
    """Whether the photo fills SAM's squares, each side resized by itself, as SAM 2 does it; else it keeps its shape."""
    sam_logit_limit: Annotated[float, msgspec.Meta(ge=0, le=LOGIT)] = 0.0
    """Low-resolution logits are told to users within ± this, as SAM 2's predictor does it; 0 tells them as they are."""

    def __post_init__(self) -> None:
        """Refuse sizes of SAM's that contradict each other (msgspec tells it of the manifest's place)."""
        if bool(self.sam_side) != bool(self.sam_grid) or (self.sam_grid and self.sam_side % self.sam_grid):
            raise ValueError(
                f"sam_side={self.sam_side} is no multiple of sam_grid={self.sam_grid}, or one of them is 0"
            )
        if self.sam_frame_side and (not self.sam_grid or self.sam_frame_side % self.sam_grid):
            raise ValueError(f"sam_frame_side={self.sam_frame_side} is no multiple of sam_grid={self.sam_grid}")

    @property
    def frame_side(self) -> int:
        """Side of the square in which prompts and masks lie."""
        return self.sam_frame_side or self.sam_side

    @property
    def mask_side(self) -> int:
        """Side of SAM's mask prompts and low-resolution masks: four times its grid."""
        return 4 * self.sam_grid


class Dimensions(SamDimensions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes that the training-free pipeline's engines fix. Pixels, unless said otherwise."""

    clip_patch: Cells
    """Side of CLIP's patches."""
    feature_grid: tuple[Cells, Cells]
    """Rows and columns of a window's features."""
    embedding: Annotated[int, msgspec.Meta(ge=1, le=EMBEDDING)]
    """Length of a text embedding, E."""
    context_length: Annotated[int, msgspec.Meta(ge=1, le=CONTEXT)]
    """Tokens of a text."""
