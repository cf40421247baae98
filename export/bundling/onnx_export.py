"""One stage to one ONNX file: export, simplify, check."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from torch import nn

from ...runtime.errors import ExportError
from ...runtime.graph.census import take_census
from ...runtime.graph.model import check_file, is_large, prepared, save_model
from ...runtime.graph.passes import improved
from ...runtime.stage.census import Census
from ...runtime.stage.contract import StageContract, TensorSpec

OPSET = 20

SET_ASIDE_ABOVE = 1_000_000
"""Bytes of a weight past which it is kept from the simplifier in such a graph."""


def export_onnx(module: nn.Module, contract: StageContract, path: Path) -> Census:
    """Export a stage, simplify its graph, check it, write it, and count its precisions.

    Args:
        module: the stage, in evaluation mode.
        contract: names and shapes; an axis with a name is dynamic.
        path: the `.onnx` file; weights past 2 GB are put in `PATH.data` beside it.

    Raises:
        ExportError: the graph does not pass ONNX's checker or strict shape inference, or its inputs and outputs are not
            the contract's.
    """
    model = _trace(module, contract)
    weights = _set_aside(model) if is_large(model) else []
    model = _simplify(model)
    _put_back(model, weights)
    census = take_census(improved(prepared(model)), contract)
    save_model(model, path)
    _check(path, contract)
    return census


def example_inputs(contract: StageContract) -> dict[str, torch.Tensor]:
    """Inputs for tracing; values do not matter."""
    examples = {name: axis.example for name, axis in contract.axes.items()}
    return {spec.name: _example(spec, examples) for spec in contract.inputs}


def _example(spec: TensorSpec, examples: Mapping[str, int]) -> torch.Tensor:
    return torch.from_numpy(np.ones(spec.sized(examples), dtype=spec.dtype))


def _trace(module: nn.Module, contract: StageContract) -> onnx.ModelProto:
    dims = {d: torch.export.Dim(d) for spec in contract.inputs for d in spec.shape if isinstance(d, str)}
    shapes = tuple(
        {axis: dims[d] for axis, d in enumerate(spec.shape) if isinstance(d, str)} for spec in contract.inputs
    )
    quiet = io.StringIO()  # the exporter prints its progress; export-engines shows its own
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), torch.no_grad():
        warnings.simplefilter("ignore")
        try:  # in two steps: given a module, torch.onnx.export falls back to fixed sizes without an error
            traced = torch.export.export(
                module, tuple(example_inputs(contract).values()), dynamic_shapes=_for_forward(module, shapes)
            )
            program = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(contract.input_names),
                output_names=list(contract.output_names),
                verbose=False,
            )
        except Exception as error:
            raise ExportError(f"PyTorch cannot export {contract.stage}: {error}") from error
    assert program is not None, "only the older exporter returns nothing"
    return program.model_proto


def _for_forward(module: nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shapes as `forward` takes its arguments: those of *args are grouped."""
    code = module.forward.__code__
    named = code.co_argcount - 1
    takes_rest = bool(code.co_flags & 0x04)
    return (*shapes[:named], shapes[named:]) if takes_rest and len(shapes) > named else shapes


def _simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified: onnx.ModelProto = onnxslim.slim(model)
    simplified.producer_name = "ovdeploy"
    simplified.doc_string = ""
    for node in simplified.graph.node:  # traces of the exporter: source lines and paths of this machine
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*simplified.graph.value_info, *simplified.graph.input, *simplified.graph.output):
        del value.metadata_props[:]
    del simplified.metadata_props[:]
    del simplified.graph.metadata_props[:]
    return simplified


def _set_aside(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Take the large weights out of a graph that protobuf could not serialise with them: they become its inputs."""
    graph = model.graph
    large = [tensor for tensor in graph.initializer if len(tensor.raw_data) >= SET_ASIDE_ABOVE]
    small = [tensor for tensor in graph.initializer if len(tensor.raw_data) < SET_ASIDE_ABOVE]
    del graph.initializer[:]
    graph.initializer.extend(small)
    graph.input.extend(onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in large)
    return large


def _put_back(model: onnx.ModelProto, weights: Sequence[onnx.TensorProto]) -> None:
    """The weights that nodes still read become initializers again."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    aside = {tensor.name for tensor in weights}
    inputs = [value for value in graph.input if value.name not in aside]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(tensor for tensor in weights if tensor.name in read)


def _check(path: Path, contract: StageContract) -> None:
    check_file(path, contract.stage)
    graph = onnx.load(str(path), load_external_data=False).graph
    for kind, values, specs in (("input", graph.input, contract.inputs), ("output", graph.output, contract.outputs)):
        came = [(value.name, _shape(value)) for value in values]
        expected = [(spec.name, [None if isinstance(dim, str) else dim for dim in spec.shape]) for spec in specs]
        if came != expected:
            raise ExportError(f"{contract.stage}: the graph's {kind}s are {came}, its contract says {expected}")


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    """Sizes; None for a dynamic one."""
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
