"""The tracking pipeline, declared."""

from __future__ import annotations

from typing import Any

from ...errors import RecipeError
from ...recipe.pipeline import FixedAxis, Interface, Pipeline, StageUse
from ...recipe.recipe import Recipe
from ...stage.contract import Axis
from ..promptable.axes import POINTS, batch_axis
from ..promptable.fixed import FIXED
from ..promptable.interactive import PROMPTING, Prompter
from ..promptable.models import MODELS
from ..promptable.stages import ENCODER, PROMPT_DECODER, PROMPTS, WHOLE
from ..sweeps import SIZES
from .parameters import PROMPTED_LIMIT, TrackingParameters
from .sizes import TrackingDimensions
from .stages import MEMORY_ATTENTION, MEMORY_ENCODER, POINTER_FRAMES, TRACK_DECODER, TRACKED_FRAMES
from .tracker import TRACKING, Tracker
from .trial import open_trial

SHARED = frozenset({"features", "high_res_0", "high_res_1", "memory_age", "pointer_distance"})
"""Inputs that are the frame's; all others have a row for each object."""

STAGES = (
    StageUse(name=ENCODER, roles=("sam",), int8=True),
    StageUse(name=MEMORY_ATTENTION, roles=("sam",), after=(ENCODER,), whole=SHARED),
    StageUse(name=TRACK_DECODER, roles=("sam",), after=(ENCODER, MEMORY_ATTENTION), whole=SHARED),
    StageUse(name=MEMORY_ENCODER, roles=("sam",), after=(ENCODER, TRACK_DECODER), whole=SHARED),
    StageUse(
        name=PROMPT_DECODER, roles=("sam",), after=(ENCODER,), purpose=PROMPTS, lazy=True, whole=WHOLE
    ),
)  # fmt: skip

OWN = (
    *(
        FixedAxis(stage, name, axis, lambda recipe, sizes: sizes.sam_grid, "sam_grid")
        for stage, name in (
            (TRACK_DECODER, "sam_features"),
            (MEMORY_ENCODER, "features"),
            (MEMORY_ATTENTION, "features"),
        )
        for axis in (2, 3)
    ),
    *(
        FixedAxis(TRACK_DECODER, "mask_prompts", axis, lambda recipe, sizes: sizes.mask_side, "sam_grid")
        for axis in (2, 3)
    ),
)


def _axes(recipe: Recipe, dimensions: TrackingDimensions) -> dict[str, Axis]:
    small, side = dimensions.mask_side, dimensions.frame_side
    frames = PROMPTED_LIMIT + TRACKED_FRAMES
    pointers = PROMPTED_LIMIT + POINTER_FRAMES
    return {
        "R": batch_axis(recipe.parameters.prompt_batch, example=3),
        "N": POINTS,
        "O": batch_axis(recipe.parameters.prompt_batch, example=2),
        "M": Axis(smallest=1, usual=1 + TRACKED_FRAMES, largest=frames, example=3),
        "P": Axis(smallest=0, usual=1 + POINTER_FRAMES, largest=pointers, example=5),
        "K": Axis(smallest=small, usual=small, largest=side, example=small),
    }


def _check(recipe: Recipe) -> None:
    """It needs a promptable model with a memory, and knows neither methods nor words.

    Raises:
        RecipeError: says what is missing or what does not belong there.
    """
    if "sam" not in recipe.models:
        raise RecipeError("the pipeline 'tracking' needs a [sam] table with a model")
    name = recipe.models["sam"].model
    if name in MODELS and not MODELS[name].remembers:
        able = ", ".join(model for model, row in MODELS.items() if row.remembers)
        raise RecipeError(f"sam model {name!r} has no memory to track with. Choose one of {able}")
    if recipe.method or recipe.classes:
        raise RecipeError("the pipeline 'tracking' takes no words: it has no method and no classes; leave them out")


def _told(recipe: Any) -> str:
    return "objects through a video, prompted by points, boxes and masks, in the manner of SAM 2"


PIPELINE = Pipeline(
    name="tracking",
    parameters=TrackingParameters,
    sizes=TrackingDimensions,
    stages=STAGES,
    interfaces={Tracker: TRACKING, Prompter: PROMPTING},
    trial=Interface(open=open_trial),
    axes=_axes,
    fixed=(*FIXED, *OWN),
    check=_check,
    describe=_told,
    sweeps={"size": SIZES},
)
