"""Counting what precision the weights and nodes of a graph really have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from ..stage.census import Census
from ..stage.contract import StageContract
from .flops import FREE, node_flops
from .model import View, load_model
from .shapes import ValueType, value_types

NAMES = {
    TensorProto.DOUBLE: "fp64",
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT8E4M3FN: "fp8",
    TensorProto.INT8: "int8",
}
"""Precisions by ONNX's element type; integers that are indices and sizes are no precision."""

QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def take_census(model: ModelProto, contract: StageContract) -> Census:
    """Count a graph's precisions.

    Args:
        model: a graph with named nodes.
        contract: its inputs; dynamic sizes are the usual ones.
    """
    flops = node_flops(model, nominal_shapes(contract))
    types, view = value_types(model), View(model)
    weights: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        if tensor.data_type in NAMES and _is_weight(tensor, view):
            weights[NAMES[tensor.data_type]] += int(np.prod(tensor.dims, dtype=np.int64))
    nodes: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for node in model.graph.node:
        precision = node_precision(node, types, view)
        if precision is not None:
            nodes[precision] += 1
            operations[precision] += flops[node.name]
    return Census(weights=dict(weights), nodes=dict(nodes), flops=dict(operations))


def census_of_file(path: Path, contract: StageContract) -> Census:
    """Count the precisions of a graph in a file; weights beside it are not read."""
    return take_census(load_model(path, weights=False), contract)


def nominal_shapes(contract: StageContract) -> dict[str, tuple[int, ...]]:
    """Sizes of a stage's inputs at which FLOPs are counted: the usual ones, 1 where none is known."""
    usual = {name: axis.usual for name, axis in contract.axes.items()}
    return {
        spec.name: tuple(usual.get(dim, 1) if isinstance(dim, str) else dim for dim in spec.shape)
        for spec in contract.inputs
    }


def node_precision(node: NodeProto, types: Mapping[str, ValueType], view: View) -> str | None:
    """The precision in which a node computes; None if it only moves or casts values, or computes with integers."""
    if node.op_type in FREE or node.op_type in QUANTISERS:
        return None
    inputs = [name for name in node.input if name and types[name].dtype in NAMES]
    outputs = [name for name in node.output if name and types[name].dtype in NAMES]
    makers = [view.source(name) for name in inputs[:2]]
    if len(inputs) >= 2 and all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
        return NAMES[types[makers[0].input[0]].dtype]  # type: ignore[union-attr]
    named = outputs or inputs
    return NAMES[types[named[0]].dtype] if named else None


def _is_weight(tensor: TensorProto, view: View) -> bool:
    """Zero points and scales are no weights."""
    return any(
        node.op_type not in QUANTISERS or node.input[0] == tensor.name for node in view.consumers.get(tensor.name, ())
    )
