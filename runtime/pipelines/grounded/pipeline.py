"""The grounded pipeline, declared."""

from __future__ import annotations

from ...errors import RecipeError
from ...recipe.pipeline import Interface, Pipeline
from ...recipe.recipe import Recipe
from ..base import Segmenter
from ..promptable.interactive import PROMPTING, Prompter
from ..sweeps import CLASSES, SIZES
from .models import ROLE, describe, row_of, unused
from .parameters import GroundedParameters
from .segmenter import open_segmenter
from .sizes import FIXED, GroundedDimensions, axes_of
from .stages import STAGES


def _check(recipe: Recipe) -> None:
    """It needs a detector and a promptable model, and has no methods.

    Raises:
        RecipeError: says what is missing or what does not belong there.
    """
    if missing := [role for role in (ROLE, "sam") if role not in recipe.models]:
        raise RecipeError(f"the pipeline {recipe.pipeline!r} needs a [{'] and a ['.join(missing)}] table with a model")
    if recipe.method:
        raise RecipeError(f"the pipeline {recipe.pipeline!r} has no methods: its detector is trained; leave it out")
    row_of(recipe)


SEGMENTING = Interface(open=open_segmenter)

PIPELINE = Pipeline(
    name="grounded",
    parameters=GroundedParameters,
    sizes=GroundedDimensions,
    stages=STAGES,
    interfaces={Segmenter: SEGMENTING, Prompter: PROMPTING},
    trial=SEGMENTING,
    things=True,
    axes=axes_of,
    fixed=FIXED,
    defaults=lambda recipe: row_of(recipe).defaults if ROLE in recipe.models else {},
    unused=unused,
    check=_check,
    describe=describe,
    sweeps={"size": SIZES, "classes": CLASSES},
)
