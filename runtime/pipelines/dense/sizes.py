"""Sizes that the engines of the dense pipeline fix."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ...geometry.dimensions import SamDimensions
from ...geometry.limits import CLASSES, CONTEXT, EMBEDDING, GRID, MODEL_SIDE
from ...recipe.pipeline import FixedAxis
from ...recipe.recipe import Recipe
from ...stage.contract import Axis
from ..promptable.axes import batch_axis
from ..promptable.fixed import FIXED as OF_SAM
from ..worded.stages import TEMPLATES, TEXT
from .models import AGGREGATE, ESCNET
from .stages import ESCNET_BLOCKS, TOWER


class DenseDimensions(SamDimensions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of the dense pipeline's engines."""

    crop_side: Annotated[int, msgspec.Meta(ge=1, le=MODEL_SIDE)]
    """Side of the crops as the tower sees them, in pixels."""
    grid: Annotated[int, msgspec.Meta(ge=1, le=GRID)]
    """Rows and columns of a crop's features; its logits have four times as many."""
    embedding: Annotated[int, msgspec.Meta(ge=1, le=EMBEDDING)]
    """Length of a text embedding."""
    context_length: Annotated[int, msgspec.Meta(ge=1, le=CONTEXT)]
    """Tokens of a text."""
    most_words: Annotated[int, msgspec.Meta(ge=1, le=CLASSES)]
    """Words that the head answers at once. Of more, each crop takes those that are most like some place of it."""


USUAL_WORDS = 20
"""Kernels are chosen for so many."""


def axes_of(recipe: Recipe, dimensions: DenseDimensions) -> dict[str, Axis]:
    """Every dynamic axis, by its name in the contracts."""
    most = dimensions.most_words
    return {
        "B": batch_axis(recipe.parameters.crop_batch, example=min(2, recipe.parameters.crop_batch)),
        "R": batch_axis(recipe.parameters.prompt_batch, example=min(3, recipe.parameters.prompt_batch)),
        "P": batch_axis(TEMPLATES, example=3),
        "T": Axis(smallest=1, usual=min(USUAL_WORDS, most), largest=most, example=min(7, most)),
    }


def _side(recipe: Recipe, sizes: Any) -> int:
    side: int = sizes.crop_side
    return side


def _grid(recipe: Recipe, sizes: Any) -> int:
    grid: int = sizes.grid
    return grid


def _logits(recipe: Recipe, sizes: Any) -> int:
    return 4 * _grid(recipe, sizes)


def _embedding(recipe: Recipe, sizes: Any) -> int:
    length: int = sizes.embedding
    return length


HEADS = (AGGREGATE, ESCNET, ESCNET_BLOCKS)

FIXED = (
    FixedAxis(TEXT, "tokens", 1, lambda recipe, sizes: sizes.context_length, "context_length"),
    FixedAxis(TEXT, "features", 1, _embedding, "embedding"),
    *(FixedAxis(TOWER, "crops", axis, _side, "crop_side") for axis in (2, 3)),
    *(FixedAxis(stage, "dense", axis, _grid, "grid") for stage in (TOWER, *HEADS) for axis in (2, 3)),
    *(FixedAxis(stage, "dense", 1, _embedding, "embedding") for stage in (TOWER, *HEADS)),
    *(FixedAxis(stage, "text", 1, _embedding, "embedding") for stage in HEADS),
    *(FixedAxis(stage, "logits", axis, _logits, "grid") for stage in HEADS for axis in (1, 2)),
    *OF_SAM,
)
"""Crops, features, words and logits, and SAM's own."""
