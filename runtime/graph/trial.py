"""Graphs tried with NVIDIA's own parser and builder."""

from __future__ import annotations

from pathlib import Path

from ..backends.tensorrt.build import build_plan
from ..backends.tensorrt.library import Library
from ..backends.tensorrt.options import PlanOptions
from ..backends.tensorrt.parsing import parse_graph
from ..backends.tensorrt.targets import targets_for
from ..errors import ExportError
from ..reporting import Reporter, silent
from ..stage.contract import StageContract
from .lint import Finding

PARSER, BUILDER = "parser", "builder"


def try_graph(
    library: Library, onnx: Path, contract: StageContract, precision: str, *, build: bool, tell: Reporter = silent
) -> list[Finding]:
    """What a library says of a graph: what its parser refuses, and if that takes it, what its builder cannot build.

    Args:
        library: that of TensorRT-RTX, which needs no GPU.
        onnx: the graph.
        contract: its inputs, with the ranges of their axes.
        precision: of the graph; GPUs are chosen that take it.
        build: whether a plan is built (and thrown away).
        tell: is told how far the build is.

    Raises:
        MissingExtraError, EngineError: the library is not installed, or does not load here.
    """
    source = f"{library.title} {library.load().__version__}"
    errors = parse_graph(library, onnx).errors
    if errors is not None:
        return [
            Finding(PARSER, error.node, str(error), "express it by what the parser takes", source) for error in errors
        ] or [Finding(PARSER, "", "the graph is refused without a word", "try it with fewer nodes", source)]
    if not build:
        return []
    options = PlanOptions(ranges=contract.ranges, targets=targets_for(precision))
    try:
        build_plan(library, onnx, contract, options, b"", tell)
    except ExportError as error:
        return [Finding(BUILDER, "", str(error), library.advice, source)]
    return []
