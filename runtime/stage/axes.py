"""The sizes that a recipe can give to the dynamic axes of its engines: what TensorRT's profiles are made of."""

from __future__ import annotations

from collections.abc import Mapping

from ..bundle.bundle import Bundle, Dimensions
from ..errors import ParameterError, one_of
from ..geometry.sizes import round_up, window_starts
from ..pipelines.training_free.plan import Plan, plan_photo
from ..recipe.recipe import Recipe
from .contract import StageContract

Range = tuple[int, int, int]
"""The smallest, the usual and the largest size of an axis. Kernels are chosen for the usual one."""

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


def dynamic_axes(contract: StageContract) -> list[str]:
    """Names of the inputs' dynamic axes, in order."""
    return list(dict.fromkeys(dim for spec in contract.inputs for dim in spec.shape if isinstance(dim, str)))


def with_ranges(contract: StageContract, ranges: Mapping[str, Range]) -> tuple[dict[str, int], ...]:
    """The named sizes of a stage at its smallest, usual and largest.

    Raises:
        ParameterError: an axis has no range.
    """
    names = dynamic_axes(contract)
    if missing := [name for name in names if name not in ranges]:
        raise ParameterError(
            f"{contract.stage}: no range is known for axis {', '.join(missing)}; "
            f"give one, for example --range {missing[0]}=1:8:64"
        )
    return tuple({name: ranges[name][index] for name in names} for index in range(3))


def parse_ranges(texts: tuple[str, ...], valid: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges as users write them: `B=1:8:16`, or `B=8` for one size.

    Raises:
        ParameterError: not a range, or of an axis that no stage has.
    """
    parsed = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        if name not in valid:
            raise ParameterError(one_of("axis", name, valid))
        try:
            values = [int(size) for size in sizes.split(":")]
        except ValueError as error:
            raise ParameterError(f"{text!r}: expected AXIS=SMALLEST:USUAL:LARGEST, for example B=1:8:16") from error
        values = values * 3 if len(values) == 1 else values
        if len(values) != 3 or not 1 <= values[0] <= values[1] <= values[2]:
            raise ParameterError(f"{text!r}: expected three sizes from 1 up, each no smaller than the one before")
        parsed[name] = (values[0], values[1], values[2])
    return parsed


def _full(largest: int) -> Range:
    """Batches are full but for the last."""
    return (1, largest, largest)


def _tokens(plan: Plan, axis: int) -> int:
    return plan.sam.tokens_hw[axis] if plan.sam else 1
