"""Explicit INT8: products between `QuantizeLinear` and `DequantizeLinear`, which every engine fuses in its own way.

ONNX Runtime's quantizer writes the same numbers (a test holds the two against each other), but leaves nodes out of
order, copies the model several times over, and stops at protobuf's 2 GB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..errors import ExportError
from .model import replace_nodes
from .products import Product

STEPS = 127
"""INT8's largest value. Both signs have as many steps, and zero is zero: TensorRT knows no other INT8."""

CHANNEL = {"MatMul": 1, "Conv": 0}
"""The axis of a weight that gets one scale for each of its places: the results' channels."""

SMALLEST = float(np.finfo(np.float32).tiny) * STEPS
"""Limits below this have no scale in float32."""


class Int8Weight(NamedTuple):
    """A weight in INT8."""

    values: np.ndarray
    """int8, of the weight's shape."""
    scales: np.ndarray
    """[channels] float32."""
    axis: int

    def dequantised(self) -> np.ndarray:
        """Values that the INT8 weight stands for: float32."""
        shape = [-1 if axis == self.axis else 1 for axis in range(self.values.ndim)]
        whole: np.ndarray = self.values.astype(np.float32) * self.scales.reshape(shape)
        return whole


def int8_weight(weight: np.ndarray, axis: int, bits: int = 8) -> Int8Weight:
    """A weight's nearest INT8 values: symmetric, one scale a channel, which its largest magnitude sets.

    Args:
        weight: float32.
        axis: of the channels.
        bits: 8, or 7 to leave a bit unused: without VNNI, x86 CPUs add pairs of 8-bit products in 16 bits, and they
            saturate.
    """
    steps = 2 ** (bits - 1) - 1
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.where(largest > SMALLEST, largest / np.float32(steps), np.float32(1)).astype(np.float32)
    values = np.clip(np.rint(weight / scales), -steps, steps).astype(np.int8)
    return Int8Weight(values, scales.reshape(-1), axis)


def quantised(values: np.ndarray, limit: float) -> np.ndarray:
    """Values after symmetric INT8, as floats: rounded to 127 steps a side, clipped at `limit`."""
    scale = np.float32(limit / STEPS)
    rounded: np.ndarray = np.clip(np.rint(values / scale), -STEPS - 1, STEPS) * scale
    return rounded


def to_int8(
    model: ModelProto, products: list[Product], limits: Mapping[str, float], *, weight_bits: int = 8
) -> ModelProto:
    """The graph with some of its products in INT8.

    Activations have one scale, weights one a channel, zero points are 0; biases and all results stay float.

    Args:
        model: an FP32 graph with named nodes, its Gemms split (`split_gemms`).
        products: those to quantise.
        limits: for every value that they read, the magnitude that stands for 127.
        weight_bits: of weights, 8 or 7.

    Returns:
        A new model.

    Raises:
        ExportError: a value has no limit, or one that is no positive number.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    chosen = {product.node: product for product in products}
    _check_limits(chosen.values(), limits)
    made: dict[str, TensorProto] = {}
    done: set[str] = set()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        copy = NodeProto.FromString(node.SerializeToString())
        if node.name in chosen:
            value, weight = copy.input[0], copy.input[1]
            if value not in done:
                nodes += _activation(value, limits[value], made)
            if weight not in done:
                axis = CHANNEL[node.op_type]
                int8 = int8_weight(numpy_helper.to_array(tensors[weight]), axis, weight_bits)
                nodes.append(_weight(weight, int8, made))
            done |= {value, weight}
            copy.input[0], copy.input[1] = f"{value}_dequantised", f"{weight}_dequantised"
        nodes.append(copy)
    return _assembled(model, nodes, made)


def _check_limits(products: Iterable[Product], limits: Mapping[str, float]) -> None:
    for product in products:
        limit = limits.get(product.value)
        if limit is None or not np.isfinite(limit) or limit <= SMALLEST:
            raise ExportError(f"{product.value}, which {product.node} reads, has no range for INT8 (it is {limit})")


def _activation(value: str, limit: float, made: dict[str, TensorProto]) -> list[NodeProto]:
    scale, zero, inner, result = (f"{value}_{what}" for what in ("scale", "zero", "quantised", "dequantised"))
    made[scale] = numpy_helper.from_array(np.array(limit / STEPS, np.float32), scale)
    made[zero] = numpy_helper.from_array(np.array(0, np.int8), zero)
    return [
        helper.make_node("QuantizeLinear", [value, scale, zero], [inner], name=inner),
        helper.make_node("DequantizeLinear", [inner, scale, zero], [result], name=result),
    ]


def _weight(name: str, weight: Int8Weight, made: dict[str, TensorProto]) -> NodeProto:
    inner, scale, zero, result = (f"{name}_{what}" for what in ("int8", "scale", "zero", "dequantised"))
    made[inner] = numpy_helper.from_array(weight.values, inner)
    made[scale] = numpy_helper.from_array(weight.scales, scale)
    made[zero] = numpy_helper.from_array(np.zeros(len(weight.scales), np.int8), zero)
    return helper.make_node("DequantizeLinear", [inner, scale, zero], [result], name=result, axis=weight.axis)


def _assembled(model: ModelProto, nodes: list[NodeProto], made: Mapping[str, TensorProto]) -> ModelProto:
    """The model with other nodes, more tensors, and none that nobody reads."""
    graph = model.graph
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read and tensor.name not in made]
    shell = helper.make_graph([], graph.name, graph.input, graph.output, [*kept, *made.values()])
    result = helper.make_model(
        shell, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name="ovdeploy"
    )
    replace_nodes(result, nodes)
    return result
