"""Passes over exported FP32 graphs: the same values, in a form that engines handle better."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from .model import View, attribute, replace_nodes
from .patterns import DecomposedNorm, decomposed_norms, late_scales
from .shapes import ValueType, value_types

PLAIN = ("", "ai.onnx")


def improved(model: ModelProto) -> ModelProto:
    """The model with all passes applied, changed in place."""
    for run in PASSES:
        run(model)
    read = {name for node in model.graph.node for name in node.input}
    unread = [i for i, tensor in enumerate(model.graph.initializer) if tensor.name not in read]
    for index in reversed(unread):
        del model.graph.initializer[index]
    return model


def fuse_norms(model: ModelProto) -> None:
    """Put `LayerNormalization` for normalisations that are written out, as SAM's LayerNorm2d is.

    One operator keeps its sums in FP32 and is known to every engine; the scale and shift that follow stay as they are.
    Axes that are not the last are moved there and back.
    """
    view, types = View(model), value_types(model)
    found = {}
    for norm in decomposed_norms(view):
        if fused := _fused(norm, types.get(norm.source), model):
            found[norm.nodes[-1].name] = (norm, fused)
    gone = {node.name for norm, _ in found.values() for node in norm.nodes if _only_within(node, norm, view)}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name in found:
            nodes += found[node.name][1]
        elif node.name not in gone:
            nodes.append(node)
    replace_nodes(model, [_copy(node) for node in nodes])


def _fused(norm: DecomposedNorm, kind: ValueType | None, model: ModelProto) -> list[NodeProto]:
    """The nodes that take a normalisation's place; none if a size is not fixed."""
    if kind is None or kind.shape is None or len(norm.axes) != 1:
        return []
    rank, axis = len(kind.shape), norm.axes[0] % len(kind.shape)
    size = kind.shape[axis]
    if not isinstance(size, int):
        return []
    ones, stem = f"{norm.result}_ones", norm.nodes[-1].name
    model.graph.initializer.append(numpy_helper.from_array(np.ones(size, np.float32), ones))
    order = [*(i for i in range(rank) if i != axis), axis]
    last = axis == rank - 1
    source, result = (norm.source, norm.result) if last else (f"{norm.result}_before", f"{norm.result}_after")
    norm_node = helper.make_node(
        "LayerNormalization", [source, ones], [result], name=f"{stem}_norm", axis=-1, epsilon=norm.epsilon
    )
    if last:
        return [norm_node]
    return [
        helper.make_node("Transpose", [norm.source], [source], name=f"{stem}_before", perm=order),
        norm_node,
        helper.make_node("Transpose", [result], [norm.result], name=f"{stem}_after", perm=np.argsort(order).tolist()),
    ]


def _only_within(node: NodeProto, norm: DecomposedNorm, view: View) -> bool:
    """Whether nothing but the normalisation reads a node."""
    inside = {part.name for part in norm.nodes}
    return all(
        name not in view.outputs and all(reader.name in inside for reader in view.consumers.get(name, ()))
        for name in node.output
    )


def scale_early(model: ModelProto) -> None:
    """Scale queries instead of attention scores: fewer products, and the form that attention kernels are found by."""
    view = View(model)
    late = {
        found.product.name: found
        for found in late_scales(view)
        if [r.name for r in view.consumers[found.product.output[0]]] == [found.scaling.name]
        and found.product.output[0] not in view.outputs
    }
    scalings = {found.scaling.name for found in late.values()}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name in scalings:
            continue
        made = _copy(node)
        if node.name in late:
            found, factor, scaled = late[node.name], f"{node.name}_factor", f"{node.name}_scaled"
            model.graph.initializer.append(numpy_helper.from_array(np.array(found.factor, np.float32), factor))
            nodes.append(helper.make_node("Mul", [node.input[0], factor], [scaled], name=scaled))
            made.input[0], made.output[0] = scaled, found.scaling.output[0]
        nodes.append(made)
    replace_nodes(model, nodes)


def narrow_integers(model: ModelProto) -> None:
    """Drop casts from INT32 to INT64 where all that reads the result takes INT32 as well, as token ids are read."""
    view, types = View(model), value_types(model)
    opset = next(int(o.version) for o in model.opset_import if o.domain in PLAIN)
    dropped: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Cast" or attribute(node, "to") != TensorProto.INT64:
            continue
        readers = view.consumers.get(node.output[0], [])
        narrow = types[node.input[0]].dtype == TensorProto.INT32 and node.output[0] not in view.outputs
        if narrow and readers and all(_takes_int32(reader, node.output[0], opset) for reader in readers):
            dropped[node.output[0]] = node.input[0]
    kept = [_copy(node) for node in model.graph.node if not dropped.keys() & set(node.output)]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = dropped.get(name, name)
    replace_nodes(model, kept)


def _takes_int32(node: NodeProto, value: str, opset: int) -> bool:
    """Whether a node takes INT32 for a value, its result's type and its other inputs staying what they are."""
    schema = defs.get_schema(node.op_type, opset)
    for index, name in enumerate(node.input):
        if name != value:
            continue
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        allowed = next(
            (c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == formal.type_str), ()
        )
        others = [f for f in (*schema.inputs, *schema.outputs) if f.type_str == formal.type_str]
        if "tensor(int32)" not in allowed or len(others) > 1:
            return False
    return True


def _copy(node: NodeProto) -> NodeProto:
    made = NodeProto()
    made.CopyFrom(node)
    return made


PASSES = (fuse_norms, scale_early, narrow_integers)
"""In running order."""
