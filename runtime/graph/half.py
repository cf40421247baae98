"""Half precision in the graph itself, with islands of FP32; strongly typed from end to end.

Precision is a property of the graph and never of a builder's flag: TensorRT 11 knows no other way, and takes an FP32
graph for an FP32 engine without a word. Every node computes in the type of its inputs, casts stand where types change,
inputs and outputs stay float32 as in the contract.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from ..errors import ExportError, one_of
from .model import HALF_TYPES, INDEX_INPUTS, MOVEMENT, View, refuse_subgraphs, replace_nodes
from .shapes import ValueType, value_types
from .weights import rounded, weight_problem

FLOAT = TensorProto.FLOAT

TYPE_BLIND = frozenset({"Shape", "Size"})
"""Operators that do not care what type they get; no cast is made for them."""

CARRIERS = MOVEMENT | {"Where"}
"""Operators that round nothing: between two islands they stay FP32, so that values are not rounded on the way."""


def to_half(model: ModelProto, precision: str, islands: Collection[str] = ()) -> ModelProto:
    """A graph in half precision, but for its islands.

    A node stays FP32 if it is an island, if ONNX does not allow it half operands in the graph's opset, or if it only
    carries values from one FP32 node to another.

    Args:
        model: an FP32 graph with named nodes (`load_model`).
        precision: `fp16` or `bf16`.
        islands: names of the nodes that stay FP32.

    Returns:
        A new model; weights are copied in the precision in which they are read.

    Raises:
        ExportError: a node or precision does not exist, the graph is not FP32, or a weight overflows or vanishes.
    """
    if precision not in HALF_TYPES:
        raise ExportError(one_of("half precision", precision, HALF_TYPES))
    refuse_subgraphs(model)
    types = value_types(model)
    names = {node.name for node in model.graph.node}
    if unknown := sorted(set(islands) - names):
        raise ExportError(f"islands name {len(unknown)} nodes that the graph has not: {', '.join(unknown[:5])}")
    if any(kind.dtype in HALF_TYPES.values() for kind in types.values()):
        raise ExportError("the graph is in half precision already; start from the FP32 one")
    half = half_nodes(model, precision, types, islands)
    return _Conversion(model, HALF_TYPES[precision], precision, types, half).run()


def half_nodes(model: ModelProto, precision: str, types: Mapping[str, ValueType], islands: Collection[str]) -> set[str]:
    """Names of the nodes that compute in half precision when `islands` do not."""
    opset = _opset(model)
    half = {
        node.name
        for node in model.graph.node
        if node.name not in islands and _can_be_half(node, precision, types, opset)
    }
    view = View(model)
    return half - _carriers_between_islands(model, view, half, types)


def problem_weights(model: ModelProto, precision: str) -> dict[str, str]:
    """Weights that half precision cannot hold, by name, with what is wrong with them."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_type == FLOAT and (problem := weight_problem(numpy_helper.to_array(tensor), precision)):
            found[tensor.name] = problem
    return found


def _opset(model: ModelProto) -> int:
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _can_be_half(node: NodeProto, precision: str, types: Mapping[str, ValueType], opset: int) -> bool:
    """Whether a node computes with floats, and ONNX allows it to give half ones."""
    if node.op_type in TYPE_BLIND or node.domain not in ("", "ai.onnx"):
        return False
    outputs = [i for i, name in enumerate(node.output) if name and types[name].dtype == FLOAT]
    inputs = _half_inputs(node, precision, types, opset)
    if node.op_type == "Cast":  # integers become half; floats become integers in whatever type they come
        return bool(outputs)
    if outputs:
        schema = defs.get_schema(node.op_type, opset, node.domain)
        return all(_allows(schema, schema.outputs, i, precision) for i in outputs)
    return bool(inputs)  # comparisons


def _half_inputs(node: NodeProto, precision: str, types: Mapping[str, ValueType], opset: int) -> set[int]:
    """Which inputs of a half node are half: those that are float and that ONNX allows to be."""
    if node.op_type in TYPE_BLIND:
        return set()
    schema = defs.get_schema(node.op_type, opset, node.domain)
    return {
        i
        for i, name in enumerate(node.input)
        if name and types[name].dtype == FLOAT and _allows(schema, schema.inputs, i, precision)
    }


def _allows(schema: defs.OpSchema, parameters: list[defs.OpSchema.FormalParameter], index: int, precision: str) -> bool:
    """Whether ONNX's schema allows a parameter to be half; the last one may stand for many."""
    formal = parameters[min(index, len(parameters) - 1)]
    allowed = next(
        (set(c.allowed_type_strs) for c in schema.type_constraints if c.type_param_str == formal.type_str),
        {formal.type_str},
    )
    return {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}[precision] in allowed


def _carriers_between_islands(
    model: ModelProto, view: View, half: set[str], types: Mapping[str, ValueType]
) -> set[str]:
    """Half nodes that carry values from FP32 ones (or inputs) to FP32 ones (or outputs), and to no other."""
    from_fp32: set[str] = set()
    for node in model.graph.node:
        sources = [name for name in _floats(node, types) if name not in view.initializers]
        if node.name in half and node.op_type in CARRIERS and sources:
            makers = [view.producer.get(name) for name in sources]
            if all(m is None or m.name not in half or m.name in from_fp32 for m in makers):
                from_fp32.add(node.name)
    to_fp32: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in from_fp32:
            readers = [reader for name in node.output for reader in view.consumers.get(name, ())]
            if all(reader.name not in half or reader.name in to_fp32 for reader in readers):
                to_fp32.add(node.name)
    return _with_their_sources(model, view, to_fp32, half)


def _with_their_sources(model: ModelProto, view: View, carriers: set[str], half: set[str]) -> set[str]:
    """Only those whose every carrier before them also stays FP32: else the value was rounded already."""
    kept: set[str] = set()
    for node in model.graph.node:
        if node.name in carriers:
            makers = [view.producer.get(name) for name in node.input]
            if all(m is None or m.name not in half or m.name in kept for m in makers):
                kept.add(node.name)
    return kept


def _floats(node: NodeProto, types: Mapping[str, ValueType]) -> list[str]:
    """A node's float inputs that are values, not places."""
    places = INDEX_INPUTS.get(node.op_type, ())
    return [name for i, name in enumerate(node.input) if name and i not in places and types[name].dtype == FLOAT]


class _Conversion:
    """One pass over the graph, in its order, so that casts stand before what reads them."""

    def __init__(
        self, model: ModelProto, dtype: int, precision: str, types: Mapping[str, ValueType], half: set[str]
    ) -> None:
        self.model, self.dtype, self.precision, self.types, self.half = model, dtype, precision, types, half
        self.view, self.opset = View(model), _opset(model)
        self.nodes: list[NodeProto] = []
        self.native: dict[str, int] = {}  # the type in which a float value is made
        self.alias: dict[tuple[str, int], str] = {}
        self.weights: dict[str, TensorProto] = {}
        self.problems: list[str] = []

    def run(self) -> ModelProto:
        for value in self.model.graph.input:
            self.native[value.name] = FLOAT
        for node in self.model.graph.node:
            self._convert(node)
        if self.problems:
            raise ExportError(
                f"{len(self.problems)} weights do not fit {self.precision}: {'; '.join(self.problems[:8])}. Keep the "
                f"nodes that read them in FP32: --islands auto finds them, or name them in an islands file."
            )
        for value in self.model.graph.output:
            if self.native.get(value.name, FLOAT) != FLOAT:
                self._cast(self._inner(value.name), value.name, FLOAT)
        return self._assemble()

    def _convert(self, node: NodeProto) -> None:
        is_half = node.name in self.half
        wanted = _half_inputs(node, self.precision, self.types, self.opset) if is_half else set()
        made = NodeProto()
        made.CopyFrom(node)
        for i, name in enumerate(node.input):
            if not name or self.types[name].dtype != FLOAT:
                continue
            if node.op_type in TYPE_BLIND or (node.op_type == "Cast" and name not in self.view.initializers):
                made.input[i] = self._inner(name)
            else:
                made.input[i] = self._as(name, self.dtype if i in wanted else FLOAT, node)
        for i, name in enumerate(node.output):
            if name and self.types[name].dtype == FLOAT:
                self.native[name] = self.dtype if is_half else FLOAT
                made.output[i] = self._inner(name)
        if is_half:
            self._retype(made)
        self.nodes.append(made)

    def _inner(self, name: str) -> str:
        """A value's name within the graph: half values that are the graph's outputs have another."""
        if name in self.view.outputs and self.native.get(name, FLOAT) != FLOAT:
            return f"{name}_{self.precision}"
        return name

    def _as(self, name: str, dtype: int, reader: NodeProto) -> str:
        """A value in a type: itself, a copy of the weight, or a cast that all readers share."""
        if name in self.view.initializers:
            return self._weight(name, dtype, reader)
        if self.native[name] == dtype:
            return self._inner(name)
        if (name, dtype) not in self.alias:
            kind = "fp32" if dtype == FLOAT else self.precision
            self._cast(self._inner(name), f"{name}_to_{kind}", dtype)
            self.alias[name, dtype] = f"{name}_to_{kind}"
        return self.alias[name, dtype]

    def _weight(self, name: str, dtype: int, reader: NodeProto) -> str:
        tensor = self.view.initializers[name]
        if dtype == FLOAT:
            self.weights[name] = tensor
            return name
        copy = f"{name}_{self.precision}"
        if copy not in self.weights:
            array = numpy_helper.to_array(tensor)
            if problem := weight_problem(array, self.precision):
                self.problems.append(f"{name} (read by {reader.name}) {problem}")
            self.weights[copy] = numpy_helper.from_array(rounded(array, self.precision), copy)
        return copy

    def _cast(self, source: str, target: str, dtype: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=dtype))

    def _retype(self, node: NodeProto) -> None:
        """Attributes that name a type or hold a float tensor."""
        for a in node.attribute:
            if a.name in ("to", "dtype") and a.i == FLOAT:
                a.i = self.dtype
            elif a.name == "value" and a.t.data_type == FLOAT:
                a.t.CopyFrom(numpy_helper.from_array(rounded(numpy_helper.to_array(a.t), self.precision)))

    def _assemble(self) -> ModelProto:
        graph = self.model.graph
        read = {name for node in self.nodes for name in node.input}
        others = [tensor for tensor in graph.initializer if tensor.data_type != FLOAT and tensor.name in read]
        made = helper.make_graph([], graph.name, graph.input, graph.output, [*others, *self.weights.values()])
        model = helper.make_model(
            made, opset_imports=self.model.opset_import, ir_version=self.model.ir_version, producer_name="ovdeploy"
        )
        replace_nodes(model, self.nodes)
        return model


def largest(precision: str) -> float:
    """The largest finite number of a half precision."""
    return {"fp16": float(np.finfo(np.float16).max), "bf16": 3.3895313892515355e38}[precision]
