"""The dense models, as rows: where they were published, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...recipe.recipe import Recipe
from .stages import ROLE


class DenseModel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    licence: str
    """SPDX name of the licence of its code and of its published weights."""
    source: str
    """Where it was published."""


CATSEG = DenseModel(
    licence="MIT",
    source="Cho et al., CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation, CVPR 2024",
)

OURS = msgspec.structs.replace(CATSEG, licence="Apache-2.0")
"""The same network with this package's own weights, or none."""

MODELS: Mapping[str, DenseModel] = {
    **dict.fromkeys(("catseg_vit_b", "catseg_vit_l"), CATSEG),
    **dict.fromkeys(("micro_catseg", "tiny_catseg"), OURS),
}
"""By the name that a [dense] table gives."""


def licence_of(name: str) -> str:
    """The licence of a dense model; empty where this package does not know it."""
    return MODELS[name].licence if name in MODELS else ""


def describe(recipe: Recipe) -> str:
    """One line about a recipe: the model, that it was trained for this, and its source."""
    name = recipe.models[ROLE].model
    row = MODELS.get(name)
    return f"model {name}, trained for segmentation; {row.source if row else 'of another package'}"
