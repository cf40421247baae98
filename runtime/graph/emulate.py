"""Emulation: what a half graph would compute, on a machine that computes in FP32.

ONNX Runtime's CPU provider computes most half nodes in FP32 and drops the casts between them, so that a half graph run
there proves little. Here every half node becomes an FP32 node whose result is cast to half and back: results round and
overflow as they would. For sums, differences, products, quotients and square roots that is exactly the half result
(float32 has more than twice the bits); of reductions and matrix products it is the result with an FP32 accumulator, as
tensor cores have; their order of accumulation stays unproved. Numbers of eight bits (INT8, FP8) are rounded by the
graph's own quantisers, so that products of them are as exact here as in hardware.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..backends.base import Session
from ..backends.options import SessionOptions
from ..backends.registry import open_session
from ..stage.contract import StageContract
from .model import HALF_TYPES, MOVEMENT, load_model, refuse_subgraphs, replace_nodes, save_model
from .shapes import value_types

HALF = tuple(HALF_TYPES.values())


def emulated(model: ModelProto) -> ModelProto:
    """The FP32 graph that computes what a half graph means.

    Args:
        model: a graph with half nodes (`to_half`); others come out as they are.
    """
    refuse_subgraphs(model)
    types = value_types(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        half = [types[name].dtype if name else 0 for name in node.output]
        nodes += _in_fp32(node, half)
    graph = model.graph
    tensors = [_widened(tensor) for tensor in graph.initializer]
    made = helper.make_graph([], graph.name, graph.input, graph.output, tensors)
    result = helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    replace_nodes(result, nodes)
    return result


def emulated_session(path: Path, contract: StageContract, *, threads: int | None = None) -> Session:
    """A session of ONNX Runtime that computes what the half graph in a file means.

    Args:
        path: the half graph, already verified.
        contract: what it takes and gives.
        threads: threads within an operator; None leaves the choice to ONNX Runtime.
    """
    return model_session(emulated(load_model(path)), contract, threads=threads)


def open_emulated(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """The backend `emulated`: what a graph in any precision means, computed in FP32 by ONNX Runtime on the CPU."""
    return emulated_session(path, contract, threads=options.threads)


def model_session(
    model: ModelProto, contract: StageContract, *, threads: int | None = None, in_order: bool = False
) -> Session:
    """A session of ONNX Runtime for a graph in memory (`in_order`: see `SessionOptions`)."""
    with TemporaryDirectory(prefix="ovdeploy-") as folder:
        path = Path(folder) / "model.onnx"
        save_model(model, path)
        fp8 = any(tensor.data_type == TensorProto.FLOAT8E4M3FN for tensor in model.graph.initializer)
        options = SessionOptions(threads=threads, in_order=in_order, arena=False, kinds=("fp8",) if fp8 else ())
        return open_session(path, contract, "onnxruntime", options=options)


def _in_fp32(node: NodeProto, dtypes: list[int]) -> list[NodeProto]:
    """A node in FP32, and the rounding of its half outputs."""
    made = NodeProto()
    made.CopyFrom(node)
    for a in made.attribute:
        if a.name in ("to", "dtype") and a.i in HALF:
            a.i = TensorProto.FLOAT
        elif a.name == "value" and a.t.data_type in HALF:
            a.t.CopyFrom(_widened(a.t))
    if node.op_type in MOVEMENT:  # exact, and it would cost time
        return [made]
    rounding: list[NodeProto] = []
    for i, (name, dtype) in enumerate(zip(node.output, dtypes, strict=True)):
        if dtype in HALF:
            made.output[i] = f"{name}_exact"
            rounding += [
                helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], name=f"{node.name}_half_{i}", to=dtype),
                helper.make_node("Cast", [f"{name}_half"], [name], name=f"{node.name}_back_{i}", to=TensorProto.FLOAT),
            ]
    return [made, *rounding]


def _widened(tensor: TensorProto) -> TensorProto:
    if tensor.data_type not in HALF:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
