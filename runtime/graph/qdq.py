"""Explicit quantisation: products between `QuantizeLinear` and `DequantizeLinear`, in INT8 or FP8 (E4M3).

Every engine fuses them in its own way. ONNX Runtime's quantizer writes the same numbers for INT8 (a test holds the two
against each other), but leaves nodes out of order, copies the model several times over, and stops at protobuf's 2 GB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..errors import ExportError
from ..stage.precision import FP8, INT8
from .model import replace_nodes
from .products import Product

CHANNEL = {"MatMul": 1, "Conv": 0}
"""The axis of a weight that gets one scale for each of its places: the results' channels."""

TINY = float(np.finfo(np.float32).tiny)


class Format(NamedTuple):
    """Numbers of eight bits that products are computed in."""

    name: str
    """The precision."""
    dtype: int
    """ONNX's number of the type."""
    largest: float
    """The largest magnitude; both signs have as many, and zero is zero: TensorRT knows no other."""
    integer: bool
    """Whether the numbers are evenly spaced."""
    least_scale: float
    """Smaller scales are not used: in FP16, where FP8's stand beside half products, they would lose bits. FP8's own
    exponent makes up for it; INT8 has none, so its scales are as small as they must."""

    @property
    def smallest(self) -> float:
        """Limits below this have no scale in float32."""
        return TINY * self.largest

    def scale(self, limit: np.ndarray | float) -> np.ndarray:
        """The scale at which a magnitude is the largest number."""
        scale: np.ndarray = np.asarray(limit, np.float32) / np.float32(self.largest)
        least: np.ndarray = np.maximum(scale, np.float32(self.least_scale))
        return least

    def stored(self, values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
        """Values divided by a scale, rounded to nearest even, clipped: an array of the format's type."""
        divided = values / np.asarray(scale, np.float32)
        if self.integer:
            return np.clip(np.rint(divided), -self.largest, self.largest).astype(np.int8)
        kind: Any = helper.tensor_dtype_to_np_dtype(self.dtype)
        eight: np.ndarray = np.clip(divided, -self.largest, self.largest).astype(kind)
        return eight

    def tensor(self, values: np.ndarray, name: str) -> TensorProto:
        """An initializer of values in this format."""
        return helper.make_tensor(name, self.dtype, values.shape, values.tobytes(), raw=True)

    def zeros(self, shape: tuple[int, ...], name: str) -> TensorProto:
        """Zero points."""
        return helper.make_tensor(name, self.dtype, shape, bytes(int(np.prod(shape, dtype=np.int64))), raw=True)


FORMATS = {
    INT8: Format(INT8, TensorProto.INT8, 127.0, integer=True, least_scale=0.0),
    FP8: Format(FP8, TensorProto.FLOAT8E4M3FN, 448.0, integer=False, least_scale=2.0**-14),
}
"""By precision."""


class QuantisedWeight(NamedTuple):
    """A weight in eight bits."""

    values: np.ndarray
    """In the format's type, of the weight's shape."""
    scales: np.ndarray
    """[channels] float32."""
    axis: int

    def dequantised(self) -> np.ndarray:
        """Values that the weight stands for: float32."""
        shape = [-1 if axis == self.axis else 1 for axis in range(self.values.ndim)]
        whole: np.ndarray = self.values.astype(np.float32) * self.scales.reshape(shape)
        return whole


def quantised_weight(weight: np.ndarray, axis: int, of: Format, bits: int = 8) -> QuantisedWeight:
    """A weight's nearest values: symmetric, one scale a channel, which its largest magnitude sets.

    Args:
        weight: float32.
        axis: of the channels.
        of: the format.
        bits: 8; or 7 for numbers of INT8 that no pair of neighbours makes saturate (`largest_pair`): at least as fine
            as seven bits, and as eight where neighbours of an outlier are small.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    if bits == 7:
        largest = np.maximum(largest, largest_pair(weight, axis).reshape(largest.shape))
    scales = np.where(largest > of.smallest, of.scale(largest), np.float32(1)).astype(np.float32)
    return QuantisedWeight(of.stored(weight, scales), scales.reshape(-1), axis)


def largest_pair(weight: np.ndarray, axis: int) -> np.ndarray:
    """The largest magnitude that two neighbouring weights of one sign add up to, of every channel.

    Without VNNI, x86 CPUs multiply unsigned numbers, 0 to 255, by signed ones and add each two neighbours in 16 bits
    (`vpmaddubsw`), which saturate. Weights of one sign are the worst: 255 · 128 = 32,640 is the most that fits, so the
    two may add up to 128, which rounding makes of 127.

    Args:
        weight: of a MatMul; neighbours are those that the product adds, two by two from the first one on.
        axis: of the channels.

    Returns:
        [channels] of the weight's type.
    """
    rows = np.moveaxis(weight, axis, -1).reshape(-1, weight.shape[axis])
    pairs = np.concatenate([rows, np.zeros_like(rows[: len(rows) % 2])]).reshape(-1, 2, rows.shape[1])
    signed = np.concatenate([np.maximum(pairs, 0), np.maximum(-pairs, 0)])
    largest: np.ndarray = signed.sum(axis=1).max(axis=0)
    return largest


def quantised(values: np.ndarray, limit: float, of: Format = FORMATS[INT8]) -> np.ndarray:
    """Values after a round trip through a format, as floats; clipped at `limit` (INT8 has one more on the left)."""
    scale = of.scale(limit)
    whole: np.ndarray
    if of.integer:
        whole = np.clip(np.rint(values / scale), -of.largest - 1, of.largest) * scale
    else:
        whole = of.stored(values, scale).astype(np.float32) * scale
    return whole


def quantise(
    model: ModelProto, products: list[Product], limits: Mapping[str, float], of: Format, *, weight_bits: int = 8
) -> ModelProto:
    """The graph with some of its products in eight bits.

    Activations have one scale, weights one a channel, zero points are 0; biases and all results stay float.

    Args:
        model: an FP32 graph with named nodes, its Gemms split (`split_gemms`).
        products: those to quantise.
        limits: for every value that they read, the magnitude that stands for the largest number.
        of: the format.
        weight_bits: of weights, 8 or 7.

    Returns:
        A new model.

    Raises:
        ExportError: a value has no limit, or one that is no positive number.
    """
    _check_limits(products, limits, of)
    return _rewritten(model, products, limits, of, weight_bits)


def quantise_weights(model: ModelProto, products: list[Product], of: Format) -> ModelProto:
    """The graph with the weights of some of its products in eight bits; what they are multiplied with stays float.

    Args, Returns:
        As `quantise`. Nothing needs to be known of the values.
    """
    return _rewritten(model, products, None, of, 8)


def _rewritten(
    model: ModelProto, products: list[Product], limits: Mapping[str, float] | None, of: Format, weight_bits: int
) -> ModelProto:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    chosen = {product.node: product for product in products}
    made: dict[str, TensorProto] = {}
    done: set[str] = set()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        copy = NodeProto.FromString(node.SerializeToString())
        if node.name in chosen:
            value, weight = copy.input[0], copy.input[1]
            if limits is not None:
                nodes += _activation(value, limits[value], of, made) if value not in done else []
                copy.input[0] = f"{value}_dequantised"
            if weight not in done:
                eight = quantised_weight(numpy_helper.to_array(tensors[weight]), CHANNEL[node.op_type], of, weight_bits)
                nodes.append(_weight(weight, eight, of, made))
            done |= {value, weight}
            copy.input[1] = f"{weight}_dequantised"
        nodes.append(copy)
    return _assembled(model, nodes, made)


def _check_limits(products: Iterable[Product], limits: Mapping[str, float], of: Format) -> None:
    for product in products:
        limit = limits.get(product.value)
        if limit is None or not np.isfinite(limit) or limit <= of.smallest:
            raise ExportError(
                f"{product.value}, which {product.node} reads, has no range for {of.name.upper()} (it is {limit})"
            )


def _activation(value: str, limit: float, of: Format, made: dict[str, TensorProto]) -> list[NodeProto]:
    scale, zero, inner, result = (f"{value}_{what}" for what in ("scale", "zero", "quantised", "dequantised"))
    made[scale] = numpy_helper.from_array(of.scale(limit), scale)
    made[zero] = of.zeros((), zero)
    return [
        helper.make_node("QuantizeLinear", [value, scale, zero], [inner], name=inner),
        helper.make_node("DequantizeLinear", [inner, scale, zero], [result], name=result),
    ]


def _weight(name: str, weight: QuantisedWeight, of: Format, made: dict[str, TensorProto]) -> NodeProto:
    inner, scale, zero, result = (f"{name}_{what}" for what in (of.name, "scale", "zero", "dequantised"))
    made[inner] = of.tensor(weight.values, inner)
    made[scale] = numpy_helper.from_array(weight.scales, scale)
    made[zero] = of.zeros(weight.scales.shape, zero)
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
