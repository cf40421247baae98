"""Sizes that the engines of the grounded pipeline fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from ...geometry.dimensions import SamDimensions
from ...geometry.limits import CONTEXT, EMBEDDING, MODEL_SIDE
from ...recipe.pipeline import FixedAxis
from ...recipe.recipe import Recipe
from ...stage.contract import Axis
from ...words.phrases import LONGEST_TEXT
from ..promptable.axes import POINTS, batch_axis
from ..promptable.fixed import FIXED as OF_SAM
from ..worded.stages import TEMPLATES, TEXT
from .stages import DETECTOR, GROUND_DETECTOR

Side = Annotated[int, msgspec.Meta(ge=1, le=MODEL_SIDE)]


class GroundedDimensions(SamDimensions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of the grounded pipeline's engines. Pixels, unless said otherwise."""

    detector_height: Side
    """Height of the picture that the detector sees."""
    detector_width: Side
    """Its width."""
    embedding: Annotated[int, msgspec.Meta(ge=1, le=EMBEDDING)]
    """Length of a text embedding."""
    context_length: Annotated[int, msgspec.Meta(ge=1, le=CONTEXT)]
    """Tokens of a text."""


TOKENS = Axis(smallest=4, usual=64, largest=LONGEST_TEXT, example=7)
"""Of a text of phrases."""


def axes_of(recipe: Recipe, dimensions: GroundedDimensions) -> dict[str, Axis]:
    """Every dynamic axis, by its name in the contracts."""
    return {
        "P": batch_axis(TEMPLATES, example=3),
        "R": batch_axis(recipe.parameters.prompt_batch, example=min(3, recipe.parameters.prompt_batch)),
        "N": POINTS,
        "L": TOKENS,
    }


def _size(name: str) -> Callable[[Recipe, Any], int]:
    def size(recipe: Recipe, sizes: Any) -> int:
        value: int = getattr(sizes, name)
        return value

    return size


FIXED = (
    FixedAxis(TEXT, "tokens", 1, _size("context_length"), "context_length"),
    FixedAxis(TEXT, "features", 1, _size("embedding"), "embedding"),
    FixedAxis(DETECTOR, "image", 2, _size("detector_height"), "detector_height"),
    FixedAxis(DETECTOR, "image", 3, _size("detector_width"), "detector_width"),
    FixedAxis(DETECTOR, "embeddings", 2, _size("embedding"), "embedding"),
    FixedAxis(GROUND_DETECTOR, "image", 2, _size("detector_height"), "detector_height"),
    FixedAxis(GROUND_DETECTOR, "image", 3, _size("detector_width"), "detector_width"),
    *OF_SAM,
)
"""What the detector sees, words, and SAM's own."""
