"""How a stage is made: its module and its contract, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from ...runtime.stage.contract import Dim, TensorSpec

if TYPE_CHECKING:
    from .networks import Networks

ANY = "any"
UNIT = "unit length over channels"


@dataclass(frozen=True, kw_only=True)
class StageMaker:
    """A stage's module and its contract. All that it calls is code that the stage's fingerprint covers."""

    module: Callable[[Networks], nn.Module]
    """The module, on the models of a recipe."""
    inputs: Callable[[Networks], tuple[TensorSpec, ...]]
    outputs: Callable[[Networks], tuple[TensorSpec, ...]]
    facts: Callable[[Networks], Any] = lambda networks: None
    """Plain values that the graph depends on beside weights, code, contract and baked parameters."""

    @property
    def code(self) -> set[str]:
        """Names of the modules that its functions are defined in."""
        return {function.__module__ for function in (self.module, self.inputs, self.outputs, self.facts)}


def tensor(name: str, shape: tuple[Dim, ...], layout: str, values: str = ANY, dtype: str = "float32") -> TensorSpec:
    """An input or output of an engine."""
    return TensorSpec(name=name, dtype=dtype, shape=shape, layout=layout, range=values)
