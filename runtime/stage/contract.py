"""The contract of a stage: what its engine takes and gives. Saved in the bundle, checked at every call."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated

import msgspec
import numpy as np

from ..errors import EngineError, shown
from ..geometry.limits import ARRAY, AXES, AXIS, refuse_more
from ..geometry.limits import Range as Range
from .arrays import Array

Size = Annotated[int, msgspec.Meta(ge=1, le=AXIS)]
Dim = Size | str


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of an engine."""

    name: str
    """Its name in the graph."""
    dtype: str
    """NumPy's name: float32, int32, …"""
    shape: Annotated[tuple[Dim, ...], msgspec.Meta(max_length=AXES)]
    """Fixed sizes as integers, dynamic ones by name; a name has one value within a call."""
    layout: str
    """The axes' meaning, in words."""
    range: str
    """The possible values, in words."""

    @property
    def is_dynamic(self) -> bool:
        """Whether some axis has a name instead of a size."""
        return any(isinstance(dim, str) for dim in self.shape)

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with its named sizes filled in.

        Raises:
            EngineError: an array of this shape would be too large, or nobody knows the size of an axis.
        """
        if unknown := [dim for dim in self.shape if isinstance(dim, str) and dim not in sizes]:
            raise EngineError(
                f"{self.name} has an axis {shown(unknown[0])}, whose size follows from no input's; expected one of "
                f"{', '.join(map(shown, sizes))}. Export the bundle again."
            )
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.shape)
        size = math.prod(map(int, shape)) * np.dtype(self.dtype).itemsize
        refuse_more(
            size, ARRAY, f"{self.name} of shape {list(shape)}", "Fewer windows or prompts take less.", EngineError
        )
        return shape


class Axis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes that a recipe can give to a dynamic axis."""

    smallest: Annotated[int, msgspec.Meta(ge=0, le=AXIS)]
    """The least of them; plans take none below it."""
    usual: Size
    """Kernels are chosen for it, and operations are counted at it."""
    largest: Size
    """The largest of them; plans take none above it."""
    example: Size
    """While the stage is traced: different from those that it meets, and from 1. Also few enough rows to try out."""

    def __post_init__(self) -> None:
        """Refuse sizes out of order (msgspec tells it of the manifest's place)."""
        if not self.smallest <= self.usual <= self.largest:
            raise ValueError(f"the sizes {self.smallest}, {self.usual}, {self.largest} are not in order")

    @property
    def range(self) -> Range:
        """Smallest, usual and largest."""
        return self.smallest, self.usual, self.largest


class StageContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs and outputs of a stage, in order."""

    stage: str
    """The stage's name."""
    inputs: tuple[TensorSpec, ...]
    """In the order in which the graph has them."""
    outputs: tuple[TensorSpec, ...]
    """Likewise."""
    axes: dict[str, Axis] = {}
    """The sizes of the inputs' dynamic axes, by their names."""

    @property
    def dynamic_axes(self) -> tuple[str, ...]:
        """Names of the inputs' dynamic axes, in order."""
        return tuple(dict.fromkeys(dim for spec in self.inputs for dim in spec.shape if isinstance(dim, str)))

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges of the dynamic axes of which one is known, in order."""
        return {name: self.axes[name].range for name in self.dynamic_axes if name in self.axes}

    def with_axes(self, axes: Mapping[str, Axis]) -> StageContract:
        """The contract with the sizes of its own dynamic axes.

        Args:
            axes: of all stages.

        Raises:
            EngineError: an axis is not among them.
        """
        if missing := [name for name in self.dynamic_axes if name not in axes]:
            raise EngineError(f"{self.stage}: the pipeline tells no sizes of axis {', '.join(missing)}", self.stage)
        return msgspec.structs.replace(self, axes={name: axes[name] for name in self.dynamic_axes})

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(spec.name for spec in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(spec.name for spec in self.outputs)

    def input(self, name: str) -> TensorSpec:
        """The input of this name."""
        return next(spec for spec in self.inputs if spec.name == name)

    def output(self, name: str) -> TensorSpec:
        """The output of this name."""
        return next(spec for spec in self.outputs if spec.name == name)

    def check_feeds(self, feeds: Mapping[str, Array]) -> dict[str, int]:
        """Refuse feeds that this contract does not describe.

        Returns:
            The sizes of the named axes.

        Raises:
            EngineError: names, a dtype, a rank, or a size differ, or a named size has two values.
        """
        if set(feeds) != set(self.input_names):
            raise EngineError(f"{self.stage} takes {sorted(self.input_names)}, got {sorted(feeds)}", self.stage)
        sizes: dict[str, int] = {}
        self._check_arrays(self.inputs, feeds, sizes)
        return sizes

    def check_into(self, into: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
        """Refuse arrays that cannot take the outputs they are given for.

        Args:
            into: arrays by output.
            sizes: the sizes of the named axes, as `check_feeds` found them.

        Raises:
            EngineError: an output that this contract does not have, or an array of another dtype or shape.
        """
        if unknown := sorted(set(into) - set(self.output_names)):
            raise EngineError(f"{self.stage} gives {sorted(self.output_names)}, not {', '.join(unknown)}", self.stage)
        self._check_arrays([spec for spec in self.outputs if spec.name in into], into, dict(sizes))

    def check_outputs(self, outputs: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
        """Refuse outputs that this contract does not describe.

        Args:
            outputs: what the engine returned, and what it was to write into.
            sizes: the sizes of the named axes, as `check_feeds` found them. An axis that only outputs have gets its
                size here: the same in all of them, and within its range where the contract knows one.

        Raises:
            EngineError: names, a dtype, a rank, or a size differ, or a named size has two values.
        """
        if missing := [name for name in self.output_names if name not in outputs]:
            raise EngineError(f"the {self.stage} engine did not return {', '.join(missing)}", self.stage)
        if unknown := sorted(set(outputs) - set(self.output_names)):
            told = f"gives {sorted(self.output_names)}, and returned {', '.join(unknown)} too"
            raise EngineError(f"the {self.stage} engine {told}", self.stage)
        found = dict(sizes)
        self._check_arrays(self.outputs, outputs, found, "came out of the engine as")
        for name in found.keys() - sizes.keys() & self.axes.keys():
            least, _, most = self.axes[name].range
            if not least <= found[name] <= most:
                told = f"{name} of its outputs is {found[name]}, and the bundle's range is {least} to {most}"
                raise EngineError(f"the {self.stage} engine does not keep its contract: {told}", self.stage)

    def check_finite(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Refuse outputs with NaN or infinity.

        Raises:
            EngineError: names the stage and the output.
        """
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                bad = int(array.size - np.isfinite(array).sum())
                raise EngineError(
                    f"the {self.stage} engine returned {bad} values of {name} (of {array.size}) that are NaN or "
                    f"infinite; compare it with PyTorch by `ovdeploy parity`, or try another precision",
                    self.stage,
                )

    def _check_arrays(
        self, specs: Iterable[TensorSpec], arrays: Mapping[str, Array], sizes: dict[str, int], came: str = "got"
    ) -> None:
        """Refuse arrays of another dtype or shape; sizes of named axes that are new are added to `sizes`."""
        for spec in specs:
            array = arrays[spec.name]
            if not isinstance(array, Array):
                told = f"{spec.name} must be an array, {came} {type(array).__name__}"
                raise EngineError(f"{self.stage}: {told}", self.stage)
            if array.dtype != np.dtype(spec.dtype):
                raise EngineError(f"{self.stage}: {spec.name} must be {spec.dtype}, {came} {array.dtype}", self.stage)
            self.check_shape(spec, tuple(array.shape), sizes, came)

    def check_shape(self, spec: TensorSpec, shape: tuple[int, ...], sizes: dict[str, int], came: str = "got") -> None:
        """Refuse a shape that is not the contract's; sizes of named axes that are new are added to `sizes`.

        Args:
            spec: one of its inputs or outputs.
            shape: of what was given for it, or came out.
            sizes: the sizes of the named axes so far.
            came: the verb of the message.

        Raises:
            EngineError: a rank or a size differs.
        """
        may_be_empty = {name for name, axis in self.axes.items() if not axis.smallest}
        if not _fits(shape, spec.shape, sizes, may_be_empty):
            told = f"{spec.name} must have shape {list(spec.shape)} with {sizes}, {came} {list(shape)}"
            raise EngineError(f"{self.stage}: {told}", self.stage)


def _fits(
    actual: tuple[int, ...], expected: tuple[Dim, ...], sizes: dict[str, int], may_be_empty: Collection[str]
) -> bool:
    """Whether a shape fits, with the named sizes seen so far; new ones are added to `sizes`."""
    if len(actual) != len(expected):
        return False
    return all(
        size == dim
        if isinstance(dim, int)
        else size >= (dim not in may_be_empty) and sizes.setdefault(dim, size) == size
        for size, dim in zip(actual, expected, strict=True)
    )
