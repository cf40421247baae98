"""The prompting pipeline, declared."""

from __future__ import annotations

from ...errors import RecipeError
from ...geometry.dimensions import SamDimensions
from ...recipe.pipeline import Interface, Pipeline, StageUse
from ...recipe.recipe import Recipe
from ...stage.contract import Axis
from ..promptable.axes import POINTS, batch_axis
from ..promptable.fixed import FIXED
from ..promptable.interactive import PROMPTING, Prompter
from ..promptable.parameters import PromptingParameters
from ..promptable.stages import ENCODER, PROMPT_DECODER, WHOLE
from ..sweeps import SIZES
from .trial import open_trial

STAGES = (
    StageUse(name=ENCODER, roles=("sam",), int8=True),
    StageUse(name=PROMPT_DECODER, roles=("sam",), after=(ENCODER,), whole=WHOLE),
)


def _axes(recipe: Recipe, dimensions: SamDimensions) -> dict[str, Axis]:
    return {"R": batch_axis(recipe.parameters.prompt_batch, example=3), "N": POINTS}


def _check(recipe: Recipe) -> None:
    """It needs a promptable model, and knows neither methods nor words.

    Raises:
        RecipeError: says what is missing or what does not belong there.
    """
    if "sam" not in recipe.models:
        raise RecipeError("the pipeline 'prompting' needs a [sam] table with a model")
    if recipe.method or recipe.classes:
        raise RecipeError("the pipeline 'prompting' takes no words: it has no method and no classes; leave them out")


PIPELINE = Pipeline(
    name="prompting",
    parameters=PromptingParameters,
    sizes=SamDimensions,
    stages=STAGES,
    interfaces={Prompter: PROMPTING},
    trial=Interface(open=open_trial),
    axes=_axes,
    fixed=FIXED,
    check=_check,
    describe=lambda recipe: "prompts alone: points, boxes and masks, in the manner of SamPredictor",
    sweeps={"size": SIZES},
)
