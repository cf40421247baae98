"""The training-free pipeline, declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import RecipeError
from ...geometry.dimensions import Dimensions
from ...recipe.parameters import Parameters
from ...recipe.pipeline import Interface, Pipeline
from ...recipe.recipe import TRAINING_FREE, Recipe
from ..base import Segmenter
from ..promptable.interactive import PROMPTING, Prompter
from ..promptable.models import refuse_affinity, refuse_as_published, stretches
from .axes import axes_of
from .fixed import FIXED
from .methods import method_of, refining_methods
from .segmenter import open_segmenter
from .stages import STAGES
from .sweeps import SWEEPS


def _check(recipe: Recipe) -> None:
    """Every method needs CLIP, and what its row says.

    Raises:
        RecipeError: names the table that is missing, or what SAM's model cannot give.
    """
    method = method_of(recipe)
    for role, needed in {"clip": True, "dino": method.proxy, "sam": method.affinity}.items():
        if needed and role not in recipe.models:
            raise RecipeError(f"method {recipe.method!r} needs a [{role}] table with a model")
    if method.affinity:
        refuse_affinity(recipe, recipe.parameters.affinity_kind, refining_methods())
    if "sam" in recipe.models and recipe.parameters.as_published:
        refuse_as_published(recipe)


def _defaults(recipe: Recipe) -> Mapping[str, Any]:
    """Whether refinement is on follows from the method, where there is SAM to refine with.

    Prompts cannot be scaled as Trident's code does it where the promptable model stretches the photo.
    """
    fixed = {"as_published": False} if stretches(recipe) else {}
    return {"refine": method_of(recipe).refine and "sam" in recipe.models, **fixed}


def _describe(recipe: Recipe) -> str:
    return f"method {recipe.method}; {method_of(recipe).source}"


SEGMENTING = Interface(open=open_segmenter)

PIPELINE = Pipeline(
    name=TRAINING_FREE,
    parameters=Parameters,
    sizes=Dimensions,
    stages=STAGES,
    interfaces={Segmenter: SEGMENTING, Prompter: PROMPTING},
    trial=SEGMENTING,
    axes=axes_of,
    fixed=FIXED,
    defaults=_defaults,
    check=_check,
    describe=_describe,
    sweeps=SWEEPS,
)
