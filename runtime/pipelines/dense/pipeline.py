"""The dense pipeline, declared."""

from __future__ import annotations

from ...errors import RecipeError
from ...recipe.pipeline import Interface, Pipeline
from ...recipe.recipe import Recipe
from ..base import Segmenter
from ..promptable.refining import has_sam
from ..sweeps import CLASSES, SIZES
from .models import ROLE, describe, row_of
from .parameters import DenseParameters
from .segmenter import open_segmenter
from .sizes import FIXED, DenseDimensions, axes_of
from .stages import STAGES


def _check(recipe: Recipe) -> None:
    """It needs a dense model, which is its own method.

    Raises:
        RecipeError: says what is missing or what does not belong there.
    """
    if ROLE not in recipe.models:
        raise RecipeError(f"the pipeline {recipe.pipeline!r} needs a [{ROLE}] table with a model")
    if recipe.method:
        raise RecipeError(f"the pipeline {recipe.pipeline!r} has no methods: its model is trained; leave `method` out")
    if recipe.parameters.pooling > 1 and not row_of(recipe).pools:
        raise RecipeError(f"the words of {recipe.models[ROLE].model} see each other at full size; leave `pooling` out")


SEGMENTING = Interface(open=open_segmenter)

PIPELINE = Pipeline(
    name="dense",
    parameters=DenseParameters,
    sizes=DenseDimensions,
    stages=STAGES,
    interfaces={Segmenter: SEGMENTING},
    trial=SEGMENTING,
    axes=axes_of,
    fixed=FIXED,
    defaults=lambda recipe: {"refine": has_sam(recipe)},
    check=_check,
    describe=describe,
    sweeps={"size": SIZES, "classes": CLASSES},
)
