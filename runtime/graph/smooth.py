"""Balancing activations against weights before INT8 (SmoothQuant: Xiao et al., ICML 2023).

A transformer's activations have a few channels with outliers, and one scale must serve all. Dividing a channel by s
and multiplying the weights that read it by s changes no result; where a LayerNorm makes the activations, its own scale
and shift take the division. Elsewhere, behind GELU or attention, a multiplication of its own does: one more pass over
the values, which a compiler joins with what stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .model import View, attribute, replace_nodes
from .products import Product
from .shapes import ValueType, value_types

CARRIERS = ("Flatten", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that may stand between a norm and its products, as long as the channels stay last."""

SPREAD = 1e4
"""Factors are kept within this of one another: beyond, a channel is as good as dead, and float32 loses bits."""


class Site(NamedTuple):
    """A LayerNorm, and all the products that read what it makes; or a value, and the products that read it."""

    norm: str
    """The LayerNorm that takes the division; empty if a multiplication does."""
    products: tuple[Product, ...]

    @property
    def name(self) -> str:
        """One for each site of a graph."""
        return self.norm or self.products[0].value


def sites(model: ModelProto, products: Sequence[Product]) -> list[Site]:
    """The LayerNorms that nothing reads but products of matrices, with the channels in their last axis.

    Args:
        model: a graph with named nodes, its Gemms split.
        products: those that are to be INT8.
    """
    view, types = View(model), value_types(model)
    by_node = {product.node: product for product in products}
    found = []
    for node in model.graph.node:
        if node.op_type == "LayerNormalization" and attribute(node, "axis", -1) in (-1, _rank(node, types) - 1):
            readers = _readers(node.output[0], view, types)
            if readers and all(_only(reader, by_node, view) for reader in readers):
                found.append(Site(node.name, tuple(by_node[reader.name] for reader in readers if reader is not None)))
    return [site for site in found if all(name in view.initializers for name in _affine(view.nodes[site.norm]))]


def value_sites(model: ModelProto, products: Sequence[Product], others: Sequence[Site]) -> list[Site]:
    """The values that only a multiplication of their own can balance.

    Args:
        model: a graph with named nodes, its Gemms split.
        products: those that are to be INT8.
        others: the sites of norms (`sites`), whose products are left out.
    """
    view = View(model)
    by_node = {product.node: product for product in products}
    taken = {product.value for site in others for product in site.products}
    found: dict[str, list[Product]] = {}
    for product in products:
        found.setdefault(product.value, []).append(product)
    return [
        Site("", tuple(readers))
        for value, readers in found.items()
        if value not in {*taken, *view.inputs, *view.outputs}
        and all(_only(view.nodes[product.node], by_node, view) for product in readers)
    ]


def factors(site: Site, model: ModelProto, largest: np.ndarray, strength: float) -> np.ndarray:
    """SmoothQuant's s = max|x|^α / max|w|^(1 − α) for every channel, their geometric mean 1.

    Args:
        site: what is divided, and its products.
        model: holds the weights.
        largest: [C], every channel's largest magnitude.
        strength: α: 0 leaves all to the activations, 1 all to the weights; 0.5 is the paper's.

    Returns:
        [C] float32, positive.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = [np.abs(numpy_helper.to_array(tensors[name])).max(axis=1) for name in _weights(site)]
    rows = np.max(weights, axis=0).astype(np.float64)
    usable = (largest > 0) & (rows > 0)
    s = np.ones(len(rows))
    s[usable] = largest[usable].astype(np.float64) ** strength / rows[usable] ** (1 - strength)
    s[usable] /= np.exp(np.log(s[usable]).mean()) if usable.any() else 1.0
    limited: np.ndarray = np.clip(s, SPREAD**-0.5, SPREAD**0.5).astype(np.float32)
    return limited


def smoothed(model: ModelProto, chosen: Mapping[Site, np.ndarray]) -> ModelProto:
    """A model that computes the same, its channels divided by their factors and its weights multiplied.

    Args:
        model: is changed, and shares nothing with the one that was found sites in.
        chosen: [C] factors by site.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    _multiply(model, {site.products[0].value: (site, s) for site, s in chosen.items() if not site.norm})
    nodes = {node.name: node for node in model.graph.node}
    for site, s in chosen.items():
        norm = nodes[site.norm] if site.norm else NodeProto()
        for index, name in enumerate(_affine(norm), start=1):
            divided = numpy_helper.to_array(tensors[name]) / s
            norm.input[index] = f"{name}_smoothed_{norm.name}"  # several norms may share a scale
            model.graph.initializer.append(_tensor(divided, norm.input[index]))
        for name in _weights(site):
            tensors[name].CopyFrom(_tensor(numpy_helper.to_array(tensors[name]) * s[:, None], name))
    return model


def _multiply(model: ModelProto, chosen: Mapping[str, tuple[Site, np.ndarray]]) -> None:
    """Put a multiplication by 1/s before the products of every value, which keep its name; others read the old one."""
    nodes = []
    readers = {value: {product.node for product in site.products} for value, (site, _) in chosen.items()}
    for original in model.graph.node:
        node = NodeProto.FromString(original.SerializeToString())
        for index, name in enumerate(node.input):
            if name in chosen and node.name not in readers[name]:
                node.input[index] = f"{name}_unbalanced"
        made = [name for name in node.output if name in chosen]
        node.output[:] = [f"{name}_unbalanced" if name in chosen else name for name in node.output]
        nodes.append(node)
        for name in made:
            factor = _tensor(1 / chosen[name][1], f"{name}_factors")
            model.graph.initializer.append(factor)
            balanced = f"{name}_balanced"
            nodes.append(helper.make_node("Mul", [f"{name}_unbalanced", factor.name], [name], name=balanced))
    replace_nodes(model, nodes)


def _tensor(array: np.ndarray, name: str) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)


def _affine(norm: NodeProto) -> list[str]:
    """Names of a norm's scale and shift."""
    return [name for name in norm.input[1:] if name]


def _weights(site: Site) -> list[str]:
    return list(dict.fromkeys(product.weight for product in site.products))


def _rank(node: NodeProto, types: Mapping[str, ValueType]) -> int:
    shape = types[node.input[0]].shape
    return len(shape) if shape is not None else 0


def _readers(value: str, view: View, types: Mapping[str, ValueType]) -> list[NodeProto | None]:
    """Nodes that compute with a value, seen through what leaves its channels last; None for what does not."""
    if value in view.outputs:
        return [None]
    found: list[NodeProto | None] = []
    for node in view.consumers.get(value, ()):
        if node.op_type not in CARRIERS:
            found.append(node)
        elif node.input[0] != value or not _keeps_channels(node, view, types):
            found.append(None)
        else:
            found += _readers(node.output[0], view, types)
    return found


def _keeps_channels(node: NodeProto, view: View, types: Mapping[str, ValueType]) -> bool:
    """Whether the last axis stays the last, whole and in order, and nothing but zeros is added."""
    before, after = types[node.input[0]].shape, types[node.output[0]].shape
    if not before or not after or not isinstance(before[-1], int) or before[-1] != after[-1]:
        return False
    if node.op_type == "Transpose":
        order = attribute(node, "perm")
        return isinstance(order, (list, tuple)) and order[-1] == len(before) - 1
    if node.op_type == "Pad":
        return attribute(node, "mode", b"constant") == b"constant" and _pads_zeros(node, view)
    return node.op_type != "Slice" or len(node.input) < 5 or _forward(node.input[4], view)


def _pads_zeros(node: NodeProto, view: View) -> bool:
    return len(node.input) < 3 or not node.input[2] or view.scalar(node.input[2]) == 0


def _forward(steps: str, view: View) -> bool:
    """Whether a slice's steps are constant and positive: one of −1 would turn the channels round."""
    tensor = view.initializers.get(steps)
    return tensor is not None and bool((numpy_helper.to_array(tensor) > 0).all())


def _only(reader: NodeProto | None, by_node: Mapping[str, Product], view: View) -> bool:
    """Whether a reader is a product of the value with a weight that nobody else reads."""
    if reader is None or reader.op_type != "MatMul" or reader.name not in by_node:
        return False
    weight = by_node[reader.name].weight
    tensor = view.initializers[weight]
    return len(tensor.dims) == 2 and len(view.consumers[weight]) == 1
