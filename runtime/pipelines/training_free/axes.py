"""The sizes that a recipe can give to the dynamic axes of its engines."""

from __future__ import annotations

from ...bundle.bundle import Bundle
from ...geometry.dimensions import Dimensions
from ...geometry.sizes import round_up, window_starts
from ...recipe.recipe import Recipe
from ...stage.axes import Range, dynamic_axes
from ...stage.contract import StageContract
from .plan import Plan, plan_photo

USUAL_PHOTO = (1000, 1500)
"""Height and width: 3:2 is what most cameras make."""

TEMPLATES = 80
"""CLIP's prompts for one name; more texts than that are not embedded at once."""


def recipe_ranges(recipe: Recipe, dimensions: Dimensions) -> dict[str, Range]:
    """The range of every dynamic axis, by its name in the contracts.

    Photos may be upright or not, so rows and columns of windows have the same largest size: that of the longest side.
    """
    parameters = recipe.parameters
    usual = plan_photo(USUAL_PHOTO, parameters, recipe.row, dimensions)
    longest = max(round_up(parameters.max_long_side, dimensions.clip_patch), parameters.crop)
    windows = len(window_starts(longest, parameters.crop, parameters.stride))
    tokens = max(dimensions.sam_grid, 1)
    return {
        "B": _full(parameters.window_batch),
        "R": _full(parameters.prompt_batch),
        "P": _full(TEMPLATES),
        "Q": (1, 32, 1024),
        "N": (1, 2, 16),
        "Wy": (1, usual.windows_grid[0], windows),
        "Wx": (1, usual.windows_grid[1], windows),
        "vh": (1, _tokens(usual, 0), tokens),
        "vw": (1, _tokens(usual, 1), tokens),
    }


def stage_ranges(contract: StageContract, bundle: Bundle) -> dict[str, Range]:
    """The ranges of one stage's dynamic inputs."""
    names = dynamic_axes(contract)
    known = recipe_ranges(bundle.recipe, bundle.manifest.dimensions) if names else {}
    return {name: known[name] for name in names if name in known}


def _full(largest: int) -> Range:
    """Batches are full but for the last."""
    return (1, largest, largest)


def _tokens(plan: Plan, axis: int) -> int:
    return plan.sam.tokens_hw[axis] if plan.sam else 1
