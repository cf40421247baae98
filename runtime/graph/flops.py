"""Floating-point operations of every node, from shapes. A multiplication with its addition counts as two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from onnx import ModelProto, NodeProto

from .model import MOVEMENT, attribute, words
from .shapes import ValueType, value_types

Types = Mapping[str, ValueType]

FREE = MOVEMENT | words("Cast Constant ConstantOfShape Dropout Range Shape Size")
"""Operators that compute nothing."""

PER_ELEMENT = {
    "BatchNormalization": 4, "Gelu": 10, "GroupNormalization": 8, "InstanceNormalization": 8, "LayerNormalization": 8,
    "LogSoftmax": 5, "RMSNormalization": 6, "Resize": 7, "Softmax": 5,
}  # fmt: skip
"""Operations per element of the first output, by convention; 1 for operators that are not listed."""

REDUCTIONS = words(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare ArgMax ArgMin"
)


def node_flops(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Operations of every node, by its name.

    Args:
        model: a graph with named nodes.
        shapes: sizes of the graph's inputs, by name.

    Raises:
        ExportError: a shape depends on data.
    """
    types = value_types(model, shapes)
    return {node.name: _flops(node, types) for node in model.graph.node}


def _flops(node: NodeProto, types: Types) -> int:
    if node.op_type in FREE or not node.output:
        return 0
    if node.op_type in COUNTERS:
        return COUNTERS[node.op_type](node, types)
    if node.op_type in REDUCTIONS:
        return types[node.input[0]].size
    return PER_ELEMENT.get(node.op_type, 1) * types[node.output[0]].size


def _sizes(name: str, types: Types) -> tuple[int, ...]:
    shape = types[name].shape
    assert shape is not None and types[name].size >= 0, "sizes are known: `size` has raised otherwise"
    return tuple(int(n) for n in shape if isinstance(n, int))


def _matmul(node: NodeProto, types: Types) -> int:
    return 2 * types[node.output[0]].size * _sizes(node.input[0], types)[-1]


def _gemm(node: NodeProto, types: Types) -> int:
    inner = _sizes(node.input[0], types)[0 if attribute(node, "transA", 0) else 1]
    return 2 * types[node.output[0]].size * inner


def _conv(node: NodeProto, types: Types) -> int:
    weight = _sizes(node.input[1], types)  # [out, in / groups, …kernel]
    return 2 * types[node.output[0]].size * math.prod(weight[1:])


def _conv_transpose(node: NodeProto, types: Types) -> int:
    weight = _sizes(node.input[1], types)  # [in, out / groups, …kernel]
    return 2 * types[node.input[0]].size * math.prod(weight[1:])


def _einsum(node: NodeProto, types: Types) -> int:
    """The product of all letters' sizes, times two: what a contraction of two operands costs."""
    given: Any = attribute(node, "equation")
    terms = given.decode().replace(" ", "").split("->")[0].split(",")
    sizes = {
        letter: size
        for term, name in zip(terms, node.input, strict=True)
        for letter, size in zip(term, _sizes(name, types), strict=True)
    }
    return 2 * math.prod(sizes.values())


def _attention(node: NodeProto, types: Types) -> int:
    queries, keys = _sizes(node.input[0], types), _sizes(node.input[1], types)
    return 2 * 2 * math.prod(queries) * keys[-2] + 5 * math.prod(queries[:-1]) * keys[-2]


COUNTERS: dict[str, Callable[[NodeProto, Types], int]] = {
    "Attention": _attention,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
"""Operators whose cost is not that of their elements."""
