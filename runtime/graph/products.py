"""The products of a graph with weights, which INT8 is about: finding them, and giving them one form."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ..errors import RecipeError, one_of
from .islands import node_blocks
from .model import View, attribute, replace_nodes


class Product(NamedTuple):
    """A product of a computed value with a weight."""

    node: str
    """The node's name: a MatMul, or a Conv."""
    value: str
    """The value multiplied: channels last for a MatMul, second for a Conv."""
    weight: str
    """The initializer: [in, out] of a MatMul, [out, in / groups, …] of a Conv."""
    block: str
    """The block that it belongs to (`islands.node_blocks`); empty if none."""


PARTS = {"first_block": 0, "last_block": -1}
"""Parts of a transformer by which block they are of those that have products."""


def products(model: ModelProto, operators: Collection[str] = ("MatMul",)) -> list[Product]:
    """The products with weights of two axes or more, in the graph's order.

    Args:
        model: a graph with named nodes, its Gemms split (`split_gemms`).
        operators: of `MatMul` and `Conv`.
    """
    view, blocks = View(model), node_blocks(model)
    return [
        Product(node.name, node.input[0], node.input[1], blocks.get(node.name, ""))
        for node in model.graph.node
        if node.op_type in operators
        and node.input[0] not in view.initializers
        and node.input[1] in view.initializers
        and len(view.initializers[node.input[1]].dims) >= 2
    ]


def without(
    found: Sequence[Product], parts: Collection[str] = (), blocks: Collection[str] = (), nodes: Collection[str] = ()
) -> list[Product]:
    """The products but for those that are to stay float.

    Args:
        found: all of a graph's, in order.
        parts: of `PARTS`.
        blocks: whole blocks.
        nodes: single products.

    Raises:
        RecipeError: a part, block or node is not among them.
    """
    there = list(dict.fromkeys(product.block for product in found if product.block))
    for what, names, valid in (
        ("part", parts, PARTS), ("block", blocks, there), ("product", nodes, [product.node for product in found]),
    ):  # fmt: skip
        for name in names:
            if name not in valid:
                raise RecipeError(f"[int8]: {one_of(what, name, valid)}"[:600])
    kept = {*blocks, *(there[PARTS[part]] for part in parts if there)}
    return [product for product in found if product.block not in kept and product.node not in set(nodes)]


def split_gemms(model: ModelProto) -> ModelProto:
    """MatMul and Add in place of every Gemm of a plain product with a weight; the model is changed in place.

    The bias then stays float beside the INT8 product, which is what TensorRT asks for, and ONNX Runtime computes a
    MatMul between dequantised operands in integers.
    """
    view = View(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes += _split(node, model, view) if _is_plain(node, view) else [node]
    replace_nodes(model, [NodeProto.FromString(node.SerializeToString()) for node in nodes])
    read = {name for node in model.graph.node for name in node.input}
    for index in reversed([i for i, tensor in enumerate(model.graph.initializer) if tensor.name not in read]):
        del model.graph.initializer[index]
    return model


def still_there(model: ModelProto, nodes: Collection[str]) -> set[str]:
    """The names of nodes of a graph after `split_gemms`, and with them the additions of their biases.

    Args:
        model: the graph after it.
        nodes: of the graph before.
    """
    names = {node.name for node in model.graph.node}
    return names & {*nodes, *(f"{name}_bias" for name in nodes)}


def _is_plain(node: NodeProto, view: View) -> bool:
    if node.op_type != "Gemm" or node.input[1] not in view.initializers:
        return False
    return all(attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta")) and not attribute(node, "transA", 0)


def _split(node: NodeProto, model: ModelProto, view: View) -> list[NodeProto]:
    weight = node.input[1]
    if attribute(node, "transB", 0):
        weight = f"{node.input[1]}_transposed"
        if all(tensor.name != weight for tensor in model.graph.initializer):
            turned = np.ascontiguousarray(numpy_helper.to_array(view.initializers[node.input[1]]).T)
            model.graph.initializer.append(numpy_helper.from_array(turned, weight))
    if len(node.input) < 3 or not node.input[2]:
        return [helper.make_node("MatMul", [node.input[0], weight], list(node.output), name=node.name)]
    product = f"{node.output[0]}_product"
    return [
        helper.make_node("MatMul", [node.input[0], weight], [product], name=node.name),
        helper.make_node("Add", [product, node.input[2]], list(node.output), name=f"{node.name}_bias"),
    ]
