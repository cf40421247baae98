"""Sizes of the training-free pipeline that its engines' contracts show."""

from __future__ import annotations

from typing import Any

from ...recipe.pipeline import FixedAxis
from ...recipe.recipe import Recipe
from ..promptable import fixed as promptable
from ..worded.stages import TEXT
from .stages import CLIP, DINO, HEAD, SAM


def _crop(recipe: Recipe, sizes: Any) -> int:
    crop: int = recipe.parameters.crop
    return crop


def _rows(recipe: Recipe, sizes: Any) -> int:
    rows: int = sizes.feature_grid[0]
    return rows


def _columns(recipe: Recipe, sizes: Any) -> int:
    columns: int = sizes.feature_grid[1]
    return columns


def _tokens(recipe: Recipe, sizes: Any) -> int:
    tokens: int = sizes.sam_grid**2
    return tokens


FIXED = (
    *promptable.FIXED,
    FixedAxis(TEXT, "tokens", 1, lambda recipe, sizes: sizes.context_length, "context_length"),
    FixedAxis(TEXT, "features", 1, lambda recipe, sizes: sizes.embedding, "embedding"),
    FixedAxis(HEAD, "embeddings", 1, lambda recipe, sizes: sizes.embedding, "embedding"),
    *(FixedAxis(stage, "windows", axis, _crop, "crop") for stage in (DINO, CLIP) for axis in (2, 3)),
    *(FixedAxis(stage, "features", 2, _rows, "feature_grid") for stage in (DINO, CLIP)),
    *(FixedAxis(stage, "features", 3, _columns, "feature_grid") for stage in (DINO, CLIP)),
    FixedAxis(HEAD, "window_features", 3, _rows, "feature_grid"),
    FixedAxis(HEAD, "window_features", 4, _columns, "feature_grid"),
    *(FixedAxis(SAM, "affinity", axis, _tokens, "sam_grid") for axis in (0, 1)),
    FixedAxis(SAM, "valid_tokens", 0, _tokens, "sam_grid"),
    *(FixedAxis(HEAD, "affinity", axis, _tokens, "sam_grid") for axis in (0, 1)),
)
"""Windows, features, words and affinity, and what is SAM's."""
