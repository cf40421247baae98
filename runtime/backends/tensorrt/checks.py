"""Conditions on an opened plan before it is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import BundleError, EngineError
from ...stage.arrays import Array
from ...stage.contract import StageContract
from .library import dtype_name

Shape = tuple[int, ...]


def check_signature(trt: Any, engine: Any, path: Path, contract: StageContract) -> None:
    """Names, directions and types of the plan are the contract's, and all its tensors lie on the GPU.

    Raises:
        BundleError: says what differs.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    verbs = {trt.TensorIOMode.INPUT: "takes", trt.TensorIOMode.OUTPUT: "gives"}
    came = {(verbs[engine.get_tensor_mode(name)], name, dtype_name(engine.get_tensor_dtype(name))) for name in names}
    takes = {("takes", spec.name, spec.dtype) for spec in contract.inputs}
    expected = takes | {("gives", spec.name, spec.dtype) for spec in contract.outputs}
    if came != expected:
        raise BundleError(f"{path}: the plan {_listed(came - expected)}; its contract {_listed(expected - came)}")
    if host := [name for name in names if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE]:
        raise BundleError(f"{path} wants {', '.join(host)} in the host's memory; shapes must not be given as values")


def input_limits(engine: Any, contract: StageContract) -> dict[str, tuple[Shape, Shape]]:
    """The smallest and the largest shape of every input."""
    limits = {}
    for spec in contract.inputs:
        if spec.is_dynamic:
            smallest, _, largest = engine.get_tensor_profile_shape(spec.name, 0)
        else:
            smallest = largest = spec.sized({})
        limits[spec.name] = (tuple(smallest), tuple(largest))
    return limits


def largest_outputs(
    context: Any, contract: StageContract, limits: Mapping[str, tuple[Shape, Shape]]
) -> dict[str, Shape]:
    """The shape of every output when all inputs are as large as the profile allows.

    Raises:
        EngineError: TensorRT refuses that, or the shape depends on values.
    """
    for name, (_, largest) in limits.items():
        if not context.set_input_shape(name, largest):
            raise EngineError(
                f"{contract.stage}: TensorRT refuses {name} of shape {list(largest)}, its profile's largest",
                contract.stage,
            )
    if unknown := context.infer_shapes():
        raise EngineError(f"the {contract.stage} plan leaves the shape of {', '.join(unknown)} open", contract.stage)
    shapes = {name: tuple(context.get_tensor_shape(name)) for name in contract.output_names}
    if vague := [name for name, shape in shapes.items() if any(size < 0 for size in shape)]:
        raise EngineError(f"{contract.stage}: the shape of {', '.join(vague)} depends on values", contract.stage)
    return shapes


def check_profile(
    contract: StageContract, feeds: Mapping[str, Array], limits: Mapping[str, tuple[Shape, Shape]], again: str
) -> None:
    """Refuse shapes outside the profile.

    Args:
        contract: the stage's.
        feeds: what is to be run, by input.
        limits: the smallest and the largest shape of every input.
        again: the command that builds the plan, without its ranges.

    Raises:
        EngineError: names the axis and the command that builds the plan for it.
    """
    for name, array in feeds.items():
        smallest, largest = limits[name]
        for axis, size in enumerate(array.shape):
            if not smallest[axis] <= size <= largest[axis]:
                dim = contract.input(name).shape[axis]
                low, high = min(size, smallest[axis]), max(size, largest[axis])
                raise EngineError(
                    f"{contract.stage}: {dim} = {size} (axis {axis} of {name}) is outside what its plan was built for, "
                    f"{smallest[axis]} to {largest[axis]}. Build it for more: "
                    f"{again} --range {dim}={low}:{size}:{high}",
                    contract.stage,
                )


def _listed(signature: set[tuple[str, str, str]]) -> str:
    return ", ".join(f"{verb} {name} {dtype}" for verb, name, dtype in sorted(signature)) or "has nothing else"
