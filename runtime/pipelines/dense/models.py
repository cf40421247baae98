"""The dense models, as rows: where they were published, under which licence, and the stage of their head."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...recipe.recipe import Recipe

ROLE = "dense"
"""The model's role: one checkpoint has both towers and the head."""

AGGREGATE, ESCNET = "aggregate", "escnet"
"""Stages of heads."""


class DenseModel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    licence: str
    """SPDX name of the licence of its code and of its published weights."""
    source: str
    """Where it was published."""
    unpublished: str = ""
    """Why there are no published weights; empty where there are."""
    head: str = AGGREGATE
    """The stage that its head is."""
    pools: bool = True
    """Whether its words can see each other on a coarser map."""


CATSEG = DenseModel(
    licence="MIT",
    source="Cho et al., CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation, CVPR 2024",
)

OURS = msgspec.structs.replace(CATSEG, licence="Apache-2.0")
"""The same network with this package's own weights, or none."""

ESC = DenseModel(
    licence="Apache-2.0",
    source="our reading of Lee et al., Effective SAM Combination for Open-Vocabulary Semantic Segmentation, CVPR 2025",
    unpublished="the paper's authors published neither code nor weights, and the network is this package's reading",
    head=ESCNET,
    pools=False,
)
"""Neither code nor weights are public, so the network is this package's own."""

MODELS: Mapping[str, DenseModel] = {
    **dict.fromkeys(("catseg_vit_b", "catseg_vit_l"), CATSEG),
    **dict.fromkeys(("micro_catseg", "tiny_catseg"), OURS),
    **dict.fromkeys(("escnet_vit_b", "escnet_vit_l", "micro_escnet", "tiny_escnet"), ESC),
}
"""By the name that a [dense] table gives."""


OTHERS = DenseModel(licence="", source="of another package")


def row_of(recipe: Recipe) -> DenseModel:
    """The row of a recipe's model; one of another package has CAT-Seg's head, and a recipe without one is refused."""
    choice = recipe.models.get(ROLE)
    return MODELS.get(choice.model if choice else "", OTHERS)


def head_of(recipe: Recipe) -> str:
    """The stage of a recipe's head."""
    return row_of(recipe).head


def licence_of(name: str) -> str:
    """The licence of a dense model; empty where this package does not know it."""
    return MODELS[name].licence if name in MODELS else ""


def unpublished(name: str) -> str:
    """Why a dense model has no published weights; empty where it has, or this package does not know it."""
    return MODELS[name].unpublished if name in MODELS else ""


def describe(recipe: Recipe) -> str:
    """One line about a recipe: the model, that it was trained for this, and its source."""
    return f"model {recipe.models[ROLE].model}, trained for segmentation; {row_of(recipe).source}"
