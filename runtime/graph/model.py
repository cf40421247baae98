"""Reading, checking and writing ONNX graphs, and finding one's way in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

from ..errors import ExportError
from ..files import named_by_content


def words(text: str) -> frozenset[str]:
    """A set of operators, written as a line of words."""
    return frozenset(text.split())


EXTERNAL_DATA_ABOVE = 2_000_000_000
"""Bytes of weights past which they go beside the graph: protobuf stops at 2 GiB."""

HALF_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
"""Half precisions by the name that engines go by."""

MOVEMENT = words(
    "Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Pad Reshape Slice SpaceToDepth Split "
    "Squeeze Tile Transpose Unsqueeze"
)
"""Operators that move values and compute none: exact in every precision."""

INDEX_INPUTS = {
    "Expand": (1,), "Gather": (1,), "GatherElements": (1,), "GatherND": (1,), "Pad": (1, 3), "Reshape": (1,),
    "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Inputs of movement operators that say where, not what."""


class View:
    """Who makes and who reads each value of a graph.

    Attributes:
        nodes: by name, in the graph's order.
        producer: the node that makes a value, by the value's name.
        consumers: the nodes that read a value, by the value's name.
        initializers: by name.
        inputs: names of the graph's inputs.
        outputs: names of the graph's outputs.
    """

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.nodes: dict[str, NodeProto] = {node.name: node for node in graph.node}
        self.producer: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output if name}
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in dict.fromkeys(filter(None, node.input)):
                self.consumers.setdefault(name, []).append(node)
        self.initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]

    def source(self, value: str) -> NodeProto | None:
        """The node whose result a value is, seen through operators that only move it; None for inputs and weights."""
        node = self.producer.get(value)
        while node is not None and node.op_type in MOVEMENT and node.op_type != "Concat":
            node = self.producer.get(node.input[0])
        return node

    def readers(self, value: str) -> Iterator[NodeProto]:
        """The nodes that compute with a value, seen through operators that only move it."""
        for node in self.consumers.get(value, ()):
            if node.op_type in MOVEMENT:
                for output in node.output:
                    yield from self.readers(output)
            else:
                yield node

    def constant(self, value: str) -> TensorProto | None:
        """The initializer that a value is, seen through operators that only move it."""
        while value not in self.initializers:
            node = self.producer.get(value)
            if node is None or node.op_type not in MOVEMENT or node.op_type == "Concat":
                return None
            value = node.input[0]
        return self.initializers[value]

    def scalar(self, value: str) -> float | None:
        """The number that a value is, if it is a constant of one element."""
        tensor = self.initializers.get(value)
        if tensor is None or any(size != 1 for size in tensor.dims):
            return None
        return float(numpy_helper.to_array(tensor).reshape(()))


def load_model(path: str | Path, *, weights: bool = True) -> ModelProto:
    """Read a graph, its constants lifted to initializers and every node named.

    Args:
        path: the `.onnx` file.
        weights: also read the weights that lie beside the graph.
    """
    return prepared(onnx.load(str(path), load_external_data=weights))


def prepared(model: ModelProto) -> ModelProto:
    """The same model with `Constant` nodes as initializers and a unique name for every node, changed in place."""
    graph = model.graph
    kept: list[NodeProto] = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value.t)
        tensor.name = node.output[0]
    taken: set[str] = set()
    for node in kept:
        stem = name = node.name or f"{node.op_type}_{next(iter(node.output), '')}"
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        node.name = name
        taken.add(name)
    if len(kept) != len(graph.node):
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    return model


def is_large(model: ModelProto) -> bool:
    """Whether protobuf cannot hold the model's weights in one message."""
    return bool(sum(tensor.ByteSize() for tensor in model.graph.initializer) > EXTERNAL_DATA_ABOVE)


def save_model(model: ModelProto, path: Path) -> None:
    """Write a graph; weights past 2 GB are put in `PATH.data` beside it."""
    large, data = is_large(model), path.with_name(f"{path.name}.data")
    onnx.save_model(
        model, str(path), save_as_external_data=large, all_tensors_to_one_file=True, location=data.name
    )  # fmt: skip
    if large:
        data.chmod(path.stat().st_mode)  # onnx lets the owner alone read it


def named_graph(path: Path) -> tuple[Path, ...]:
    """Give a graph, and the weights beside it, names that tell their content.

    A bundle's new engine so never has the name of an old one, and both are whole while one takes the other's place.

    Returns:
        The graph's new path, then its weights' if they lie beside it.
    """
    data = path.with_name(f"{path.name}.data")
    if not data.exists():
        return (named_by_content(path, ".onnx"),)
    data = named_by_content(data, ".onnx.data")
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data.name
    path.write_bytes(model.SerializeToString())
    return named_by_content(path, ".onnx"), data


def check_file(path: Path, what: str) -> None:
    """Run ONNX's checker (which also refuses nodes out of order) and strict shape and type inference on a file.

    Raises:
        ExportError: names the graph.
    """
    shapes = path.with_name(f"{path.name}.shapes")
    try:
        onnx.checker.check_model(str(path), full_check=False)
        onnx.shape_inference.infer_shapes_path(str(path), str(shapes), strict_mode=True, check_type=True)
    except Exception as error:
        raise ExportError(f"the graph of {what} does not pass ONNX's checks: {error}") from error
    finally:
        shapes.unlink(missing_ok=True)


def refuse_subgraphs(model: ModelProto) -> None:
    """Refuse graphs within graphs, which the passes do not look into.

    Raises:
        ExportError: names the node.
    """
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    for node in model.graph.node:
        if any(attribute.type in kinds for attribute in node.attribute):
            raise ExportError(
                f"node {node.name} ({node.op_type}) holds a graph of its own; export without control flow"
            )
    if model.functions:
        raise ExportError(f"the model defines functions ({model.functions[0].name}); inline them first")


def replace_nodes(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Put these nodes, in this order, in place of a graph's."""
    copies = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(copies)


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """A node's attribute, or the default."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)
