"""A manifest's parts held against each other: what it says twice, it must say alike."""

from __future__ import annotations

from typing import Any

from ..errors import BundleError
from ..recipe.pipeline import FixedAxis
from ..recipe.recipe import Recipe
from ..stage.contract import StageContract, TensorSpec


def check_sizes(where: str, recipe: Recipe, sizes: Any, contracts: dict[str, StageContract]) -> None:
    """Refuse sizes that are not those of the engines' contracts.

    The contracts are held against the graphs when these are opened, so the sizes are the graphs' then.

    Args:
        where: the manifest, for messages.
        recipe: the bundle's.
        sizes: its `dimensions`.
        contracts: of the stages that it holds.

    Raises:
        BundleError: says which size, and which contract tells another.
    """
    for name, contract in contracts.items():
        if contract.stage != name:
            raise BundleError(
                f"{where}: the stage {name} has the contract of {contract.stage}. Export the bundle again."
            )
    for row in recipe.family.fixed:
        if (spec := _spec(row, contracts)) is None:
            continue
        came = spec.shape[row.axis] if row.axis < len(spec.shape) else None
        if came != (size := row.size(recipe, sizes)):
            raise BundleError(
                f"{where} contradicts itself: by {row.said}, axis {row.axis} of {row.tensor} ({row.stage}) is {size}; "
                f"by its contract it is {came}. Export the bundle again."
            )


def _spec(row: FixedAxis, contracts: dict[str, StageContract]) -> TensorSpec | None:
    """The tensor that a row is about, if the bundle has it."""
    contract = contracts.get(row.stage)
    specs = (*contract.inputs, *contract.outputs) if contract else ()
    return next((spec for spec in specs if spec.name == row.tensor), None)
