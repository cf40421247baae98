"""The sizes that a recipe can give to the dynamic axes of its engines."""

from __future__ import annotations

from ...geometry.dimensions import Dimensions
from ...geometry.sizes import round_up, window_starts
from ...recipe.recipe import Recipe
from ...stage.contract import Axis
from ..promptable.axes import POINTS, batch_axis
from ..worded.stages import TEMPLATES
from .methods import method_of
from .plan import Plan, plan_photo

USUAL_PHOTO = (1000, 1500)
"""Height and width: 3:2 is what most cameras make."""


def axes_of(recipe: Recipe, dimensions: Dimensions) -> dict[str, Axis]:
    """Every dynamic axis, by its name in the contracts.

    Photos may be upright or not, so rows and columns of windows have the same largest size: that of the longest side.
    Examples differ from each other where they meet.
    """
    parameters = recipe.parameters
    usual = plan_photo(USUAL_PHOTO, parameters, method_of(recipe), dimensions)
    longest = max(round_up(parameters.max_long_side, dimensions.clip_patch), parameters.crop)
    windows = len(window_starts(longest, parameters.crop, parameters.stride))
    tokens = max(dimensions.sam_grid, 1)
    return {
        "B": batch_axis(parameters.window_batch, example=2),
        "R": batch_axis(parameters.prompt_batch, example=3),
        "P": batch_axis(TEMPLATES, example=3),
        "Q": Axis(smallest=1, usual=32, largest=1024, example=5),
        "N": POINTS,
        "Wy": Axis(smallest=1, usual=usual.windows_grid[0], largest=windows, example=2),
        "Wx": Axis(smallest=1, usual=usual.windows_grid[1], largest=windows, example=3),
        "vh": Axis(smallest=1, usual=_tokens(usual, 0), largest=tokens, example=6),
        "vw": Axis(smallest=1, usual=_tokens(usual, 1), largest=tokens, example=7),
    }


def _tokens(plan: Plan, axis: int) -> int:
    return plan.sam.tokens_hw[axis] if plan.sam else 1
