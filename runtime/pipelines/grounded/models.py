"""The detectors, as rows: how each takes words, where it was published, and under which licence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ...errors import RecipeError, one_of
from ...recipe.recipe import Recipe

ROLE = "detector"
"""The role of the model that finds boxes."""

OWL = "owlv2"
"""The kind of detectors whose boxes are compared with embeddings of words behind the engine."""

SENTENCE = "grounding-dino"
"""The kind of detectors that see a sentence: words go into the engine with the photo."""


class DetectorModel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    kind: str
    """How it takes words: a key of `DETECTORS`."""
    licence: str = "Apache-2.0"
    """SPDX name of the licence of its code and of its published weights."""
    source: str
    """Where it was published."""
    defaults: Mapping[str, Any] = {}
    """Values of parameters that a recipe with it has unless it says otherwise."""
    unused: frozenset[str] = frozenset()
    """Parameters that other detectors use."""


OWLV2 = DetectorModel(
    kind=OWL,
    source="Minderer et al., Scaling Open-Vocabulary Object Detection (OWLv2), NeurIPS 2023",
    unused=frozenset({"text_threshold"}),
)

GROUNDING_DINO = DetectorModel(
    kind=SENTENCE,
    source="Liu et al., Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Detection, ECCV 2024",
    defaults={"box_threshold": 0.25},
    unused=frozenset({"padding"}),
)

MODELS: Mapping[str, DetectorModel] = {
    **dict.fromkeys(("grounding_dino_tiny", "grounding_dino_base", "micro_grounding_dino"), GROUNDING_DINO),
    **dict.fromkeys(("owlv2_b16", "owlv2_l14", "micro_owlv2", "tiny_owlv2"), OWLV2),
}
"""By the name that a [detector] table gives."""


def licence_of(name: str) -> str:
    """The licence of a detector; empty where this package does not know it."""
    return MODELS[name].licence if name in MODELS else ""


def row_of(recipe: Recipe) -> DetectorModel:
    """The row of a recipe's detector.

    Raises:
        RecipeError: there is none.
    """
    name = recipe.models[ROLE].model if ROLE in recipe.models else ""
    if name not in MODELS:
        raise RecipeError(one_of("detector", name, MODELS))
    return MODELS[name]


def is_kind(kind: str) -> Callable[[Recipe], bool]:
    """Whether a recipe's detector takes words in this way, as a stage asks it."""
    return lambda recipe: row_of(recipe).kind == kind


def unused(recipe: Recipe) -> frozenset[str]:
    """Parameters that a recipe's detector does not use."""
    return row_of(recipe).unused if ROLE in recipe.models else frozenset()


def describe(recipe: Recipe) -> str:
    """One line about a recipe: both models, and the detector's source."""
    models = recipe.models
    return f"boxes by {models[ROLE].model}, masks by {models['sam'].model}; {row_of(recipe).source}"
