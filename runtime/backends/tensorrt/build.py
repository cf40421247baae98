"""One ONNX graph to one TensorRT plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ...errors import ExportError
from ...reporting import Reporter
from ...stage.axes import with_ranges
from ...stage.contract import StageContract
from .library import Library, dtype_name, errors_of
from .options import PlanOptions
from .parsing import Parsed, parse_graph
from .progress import make_monitor

REMEDIES = {
    "FP32 GEMM is not supported": "Turing has no FP32 matrix product: export with fewer islands (--islands none, or a "
    "file without the classes that hold a MatMul) for --target sm75",
    "contains HW-specific datatypes": "A target does not take a type that is in the graph: choose another --target or "
    "--precision",
}
"""What to do, by words in the builder's messages."""


class Built(NamedTuple):
    """A plan, and what was learnt by building it."""

    plan: bytes
    timings: bytes
    """The timing cache, to be given to the next build on this GPU; empty where there is none."""
    layers: dict[str, int]
    """Layers by the precision of what they give."""


def build_plan(
    library: Library, onnx: Path, contract: StageContract, options: PlanOptions, timings: bytes, tell: Reporter
) -> Built:
    """Build a plan, on the GPU that is active if the library builds for it.

    Args:
        library: TensorRT or TensorRT-RTX.
        onnx: the graph, its external data beside it.
        contract: what the graph takes and gives.
        options: all that may be chosen; `ranges` has every dynamic axis.
        timings: an earlier build's timing cache, or nothing.
        tell: is told how far the build is.

    Raises:
        ExportError: the graph cannot be parsed or built, with TensorRT's reasons, or is not the contract's.
        ParameterError: a dynamic axis has no range.
    """
    with_ranges(contract, options.ranges)  # before anything slow
    parsed = parse_graph(library, onnx)
    trt, builder, network, logger = parsed.trt, parsed.builder, parsed.network, parsed.logger
    _check_inputs(parsed, onnx, contract)
    config = builder.create_builder_config()
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    library.configure(trt, config, options, timings)
    _add_profile(builder, config, logger, contract, options)
    monitor = make_monitor(trt, tell)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.failure is not None:
        raise monitor.failure
    if plan is None:
        raise ExportError(
            f"{library.title} cannot build {contract.stage} from {onnx.name}.{errors_of(logger)} "
            f"{advice(library, logger)}"
        )
    blob = bytes(plan)
    return Built(blob, *library.learnt(trt, config, network, blob, contract.stage))


def advice(library: Library, logger: Any) -> str:
    """The remedy for what a builder said."""
    told = " ".join(logger.errors)
    known = next((remedy for words, remedy in REMEDIES.items() if words in told), "")
    return known or f"`ovdeploy lint` tells what its parser handles badly; {library.advice}"


def _check_inputs(parsed: Parsed, onnx: Path, contract: StageContract) -> None:
    """A graph that the parser took, and that takes what the contract says.

    Raises:
        ExportError: it is not.
    """
    if parsed.errors is not None:
        told = "; ".join(str(error) for error in parsed.errors)
        raise ExportError(
            f"{contract.stage}: {parsed.title}'s parser refuses {onnx.name}: {told or 'it does not say why'}"
        )
    network = parsed.network
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    came = {tensor.name: dtype_name(tensor.dtype) for tensor in inputs}
    expected = {spec.name: spec.dtype for spec in contract.inputs}
    if came != expected:
        raise ExportError(f"{onnx.name} takes {came}, the contract of {contract.stage} says {expected}")
    if shapes := [tensor.name for tensor in inputs if tensor.is_shape_tensor]:
        raise ExportError(f"{onnx.name}: {', '.join(shapes)} gives a shape as values; take it from an array's shape")


def _add_profile(builder: Any, config: Any, logger: Any, contract: StageContract, options: PlanOptions) -> None:
    """One profile with the range of every dynamic input; none where all shapes are fixed."""
    dynamic = [spec for spec in contract.inputs if spec.is_dynamic]
    if not dynamic:
        return
    sizes = with_ranges(contract, options.ranges)
    profile = builder.create_optimization_profile()
    for spec in dynamic:
        smallest, usual, largest = (spec.sized(each) for each in sizes)
        profile.set_shape(spec.name, smallest, usual, largest)
    if config.add_optimization_profile(profile) < 0:
        raise ExportError(f"{contract.stage}: TensorRT refuses the ranges {dict(options.ranges)}.{errors_of(logger)}")
