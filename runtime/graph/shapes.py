"""Types and shapes of all values of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..errors import ExportError
from .model import View

LARGE = 4096
"""Elements past which a weight's values are left out of inference; no shape depends on them."""

INTEGERS = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)

Shape = tuple[int | str | None, ...]


class ValueType(NamedTuple):
    """A value's type."""

    dtype: int
    """ONNX's number of the element type."""
    shape: Shape | None
    """Sizes, names of dynamic ones, None for an unknown one; None as a whole if the rank is unknown."""

    @property
    def size(self) -> int:
        """Number of elements.

        Raises:
            ExportError: a size is not known.
        """
        if self.shape is None or not all(isinstance(n, int) for n in self.shape):
            raise ExportError(f"a value has no fixed shape: {self.shape}")
        return int(np.prod([int(n) for n in self.shape if isinstance(n, int)], dtype=np.int64))


def value_types(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None, *, strict: bool = True
) -> dict[str, ValueType]:
    """Element type and shape of every value.

    Args:
        model: a graph without subgraphs.
        shapes: sizes of the graph's inputs, by name. With them, what depends on sizes alone is computed, so that all
            shapes come out as numbers unless they depend on data.
        strict: refuse graphs that contradict themselves; otherwise what follows from the contradiction is left out.

    Raises:
        ExportError: ONNX's strict inference refuses the graph.
    """
    light = _light(model)
    for value in light.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, (shapes or {}).get(value.name, ()), strict=False):
            dim.dim_value = size
    types = _infer(light, strict)
    while shapes is not None and _fold(light, types):
        types = _infer(light, strict)
    return types


def _light(model: ModelProto) -> ModelProto:
    """A copy without large weights: they become inputs, of which inference needs type and shape alone."""
    graph = model.graph
    light = helper.make_graph(list(graph.node), graph.name, list(graph.input), [])
    light.output.extend(helper.make_empty_tensor_value_info(value.name) for value in graph.output)
    for tensor in graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) > LARGE or tensor.data_location == TensorProto.EXTERNAL:
            light.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            light.initializer.append(tensor)
    return helper.make_model(light, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def _infer(model: ModelProto, strict: bool) -> dict[str, ValueType]:
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=strict, strict_mode=strict, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"the graph does not pass ONNX's shape inference: {error}") from error
    types = {tensor.name: ValueType(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        shape = tuple(_size(dim) for dim in kind.shape.dim) if kind.HasField("shape") else None
        types[value.name] = ValueType(kind.elem_type, shape)
    return types


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    return int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None


def _fold(model: ModelProto, types: Mapping[str, ValueType]) -> bool:
    """Compute small integers that depend on known sizes alone; whether there were any."""
    view = View(model)
    known: dict[str, np.ndarray] = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in view.initializers.items()
        if tensor.data_type in INTEGERS
    }
    kept, folded = [], False
    for node in model.graph.node:
        values = _evaluate(node, known, types, model)
        if values is None:
            kept.append(node)
            continue
        folded = True
        for name, array in values.items():
            known[name] = array
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return folded


def _evaluate(
    node: NodeProto, known: Mapping[str, np.ndarray], types: Mapping[str, ValueType], model: ModelProto
) -> dict[str, np.ndarray] | None:
    if node.op_type == "Shape":
        shape = types[node.input[0]].shape if node.input[0] in types else None
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        bounds = {a.name: a.i for a in node.attribute}
        return {node.output[0]: np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)}
    if any(name and name not in known for name in node.input):
        return None
    if not all(name in types and types[name].dtype in INTEGERS for name in node.output):
        return None
    alone = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, types[n].dtype, None) for n in dict.fromkeys(node.input) if n],
        [helper.make_tensor_value_info(n, types[n].dtype, None) for n in node.output],
    )
    run = ReferenceEvaluator(helper.make_model(alone, opset_imports=list(model.opset_import))).run
    outputs = run(None, {name: known[name] for name in node.input if name})
    return {name: np.asarray(array) for name, array in zip(node.output, outputs, strict=True)}
