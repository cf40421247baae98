"""Lint: what TensorRT's parser refuses in a graph, or handles badly. The rules are data, with their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from onnx import ModelProto, NodeProto, TensorProto, defs

from . import tensorrt_support as tensorrt
from .model import INDEX_INPUTS, MOVEMENT, View, attribute
from .patterns import decomposed_norms, late_scales
from .shapes import ValueType, value_types
from .tensorrt_support import Version

PLAIN = ("", "ai.onnx")


class Finding(NamedTuple):
    """One place in a graph that a rule is about."""

    rule: str
    node: str
    """Its name; empty if the whole graph is meant."""
    what: str
    fix: str
    source: str


class Graph(NamedTuple):
    """A graph as the rules see it."""

    model: ModelProto
    view: View
    types: dict[str, ValueType]
    version: Version
    data: frozenset[str]
    """Values that depend on the values of inputs, not on their sizes alone."""

    def dtype(self, name: str) -> int:
        """ONNX's number of a value's element type; 0 if it is not known."""
        return self.types[name].dtype if name in self.types else TensorProto.UNDEFINED

    def is_constant(self, name: str) -> bool:
        """Whether a value is fixed when the graph is parsed."""
        return not name or name in self.view.initializers


class Rule(NamedTuple):
    """One thing to look for."""

    name: str
    find: Callable[[Graph], Iterator[tuple[str, str]]]
    """Yields a node's name and what is wrong with it."""
    fix: str
    """The remedy."""
    source: str


def lint_model(model: ModelProto, version: Version) -> list[Finding]:
    """All findings in a graph.

    Args:
        model: a graph with named nodes; large weights are not needed.
        version: of TensorRT, major and minor.
    """
    types = value_types(model, strict=False)  # a graph that mixes types is told of, not refused
    graph = Graph(model, View(model), types, version, _data_values(model))
    return [Finding(rule.name, node, what, rule.fix, rule.source) for rule in RULES for node, what in rule.find(graph)]


def _data_values(model: ModelProto) -> frozenset[str]:
    found = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and found.intersection(node.input):
            found.update(node.output)
    return frozenset(found)


def _opset(graph: Graph) -> Iterator[tuple[str, str]]:
    most = tensorrt.max_opset(graph.version)
    for opset in graph.model.opset_import:
        if opset.domain in PLAIN and opset.version > most:
            yield "", f"opset {opset.version}; TensorRT {_told(graph.version)} reads up to {most}"


def _operators(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.model.graph.node:
        since = tensorrt.SINCE.get(node.op_type, (0, 0))
        if node.domain not in PLAIN:
            yield node.name, f"{node.domain}.{node.op_type} is no operator of ONNX"
        elif node.op_type not in tensorrt.TYPES:
            yield node.name, f"TensorRT's parser has no {node.op_type}"
        elif graph.version < since:
            yield node.name, f"{node.op_type} came with TensorRT {_told(since)}, this is for {_told(graph.version)}"


def _dtypes(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.model.graph.node:
        allowed = tensorrt.types_of(node.op_type, graph.version) if node.domain in PLAIN else frozenset()
        values = [name for name in node.input if name][1 if node.op_type == "Where" else 0 :]
        dtype = graph.dtype(values[0]) if values else TensorProto.UNDEFINED
        known = node.domain in PLAIN and node.op_type in tensorrt.TYPES and dtype != TensorProto.UNDEFINED
        if known and _type_name(dtype) not in allowed:
            yield (
                node.name,
                f"{node.op_type} of {_type_name(dtype)}; TensorRT takes {', '.join(sorted(allowed)) or 'none'}",
            )


def _resize(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in _of(graph, "Resize", "Upsample"):
        mode = _text(node, "mode", "nearest")
        if mode not in tensorrt.resize_modes(graph.version):
            yield node.name, f"{node.op_type} is {mode}"
        if (policy := _text(node, "keep_aspect_ratio_policy", "stretch")) != "stretch":
            yield node.name, f"{node.op_type} keeps the aspect ratio: {policy}"
        if attribute(node, "antialias", 0):
            yield node.name, f"{node.op_type} is antialiased"
        if (frame := _text(node, "coordinate_transformation_mode", "half_pixel")) not in tensorrt.RESIZE_FRAMES:
            yield node.name, f"{node.op_type} maps coordinates by {frame}"


def _grid_samples(graph: Graph) -> Iterator[tuple[str, str]]:
    opset = next((int(o.version) for o in graph.model.opset_import if o.domain in PLAIN), 0)
    for node in _of(graph, "GridSample"):
        mode = _text(node, "mode", "linear" if opset >= tensorrt.GRID_RENAMED else "bilinear")
        yield node.name, f"GridSample, {mode}, at opset {opset}"


def _constant_inputs(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in _of(graph, *tensorrt.CONSTANT_INPUTS):
        for index in tensorrt.CONSTANT_INPUTS[node.op_type]:
            if index < len(node.input) and not graph.is_constant(node.input[index]):
                yield node.name, f"input {index} of {node.op_type} ({node.input[index]}) is computed"


def _data_dependent_shapes(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.model.graph.node:
        if node.op_type in tensorrt.DATA_DEPENDENT:
            yield node.name, f"the size of {node.op_type}'s result depends on values"
        if node.op_type in ("If", "Loop", "Scan"):
            yield node.name, f"{node.op_type}: control flow"
        for index in tensorrt.SHAPE_INPUTS.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] in graph.data:
                yield node.name, f"{node.input[index]}, which sizes the result of {node.op_type}, depends on values"


def _int64_data(graph: Graph) -> Iterator[tuple[str, str]]:
    for value in (*graph.model.graph.input, *graph.model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            yield "", f"{value.name} is INT64"
    for node in graph.model.graph.node:
        if node.op_type in (*MOVEMENT, "Cast", "Shape", "Size"):
            continue
        places = INDEX_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if index not in places and name in graph.data and graph.dtype(name) == TensorProto.INT64:
                yield node.name, f"{node.op_type} computes with {name}, which is INT64 and no shape"


def _decomposed_norms(graph: Graph) -> Iterator[tuple[str, str]]:
    for norm in decomposed_norms(graph.view):
        yield norm.nodes[-1].name, f"a normalisation over axes {list(norm.axes)} is written out"


def _late_scales(graph: Graph) -> Iterator[tuple[str, str]]:
    for late in late_scales(graph.view):
        yield late.scaling.name, f"attention scores are scaled by {late.scaling.op_type} after their product"


def _mixed_types(graph: Graph) -> Iterator[tuple[str, str]]:
    opset = next((int(o.version) for o in graph.model.opset_import if o.domain in PLAIN), 0)
    for node in graph.model.graph.node:
        for names in _alike(node, opset):
            kinds = {_type_name(graph.dtype(name)) for name in names if graph.dtype(name)}
            if len(kinds) > 1:
                yield node.name, f"{node.op_type} gets {' and '.join(sorted(kinds))}"


def _alike(node: NodeProto, opset: int) -> Iterator[list[str]]:
    """Groups of a node's inputs that must be of one type."""
    if node.domain not in PLAIN or not defs.has(node.op_type, max_inclusive_version=opset):
        return
    schema = defs.get_schema(node.op_type, opset)
    groups: dict[str, list[str]] = {}
    for index, name in enumerate(node.input):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if name and formal.is_homogeneous:
            groups.setdefault(formal.type_str, []).append(name)
    yield from groups.values()


def _of(graph: Graph, *operators: str) -> Iterator[NodeProto]:
    return (node for node in graph.model.graph.node if node.op_type in operators)


def _text(node: NodeProto, name: str, default: str) -> str:
    value = attribute(node, name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _type_name(dtype: int) -> str:
    name = str(TensorProto.DataType.Name(dtype)).lower()
    return "float32" if name == "float" else name


def _told(version: Version) -> str:
    return ".".join(map(str, version))


NORMS = "NVIDIA/TensorRT issue 2781: the builder's warning of LayerNorm in FP16"
FUSION = "TensorRT documentation, Fused Attention"
TYPING = "TensorRT API, NetworkDefinitionCreationFlag.STRONGLY_TYPED"

RULES = (
    Rule("opset", _opset, f"export at opset {tensorrt.MAX_OPSET[10, 0]}, which 10.0 reads", tensorrt.SOURCE),
    Rule("operator", _operators, "express it by operators that the parser has, or compute it outside", tensorrt.SOURCE),
    Rule("dtype", _dtypes, "cast to a type that the parser takes, where it is exact", tensorrt.SOURCE),
    Rule("resize", _resize, "resize linearly or to the nearest; bake cubic resizing of weights in", tensorrt.SOURCE),
    Rule(
        "grid_sample", _grid_samples, "sample by Gather: four corners, weighted; it is the same in every version",
        "NVIDIA/TensorRT issue 4646 and onnx-tensorrt pull request 1060: from opset 20 on, parsers up to 11.1 take "
        "`linear` for nearest, silently; NVIDIA/TensorRT issue 4813: from 10.14 on it is wrong in deformable attention "
        "at opset 16 too",
    ),
    Rule("constant_axes", _constant_inputs, "give the axes as an initializer: fold constants", tensorrt.SOURCE),
    Rule(
        "data_dependent_shape", _data_dependent_shapes,
        "fix the size and mask what is not meant, or take the size from a shape", tensorrt.SOURCE,
    ),
    Rule(
        "int64_data", _int64_data, "keep data in INT32 or floats; INT64 is for shapes and indices",
        "onnx-tensorrt docs/Changelog.md: from 9.0 on INT64 is no longer cast to INT32",
    ),
    Rule("decomposed_norm", _decomposed_norms, "use LayerNormalization (opset 17), with transposes if need be", NORMS),
    Rule("late_scale", _late_scales, "scale Q, K or both, before the first product, so that attention fuses", FUSION),
    Rule("mixed_types", _mixed_types, "cast to one type in front of the node; strong typing makes none", TYPING),
)  # fmt: skip
"""All rules, in the order in which they are told."""
