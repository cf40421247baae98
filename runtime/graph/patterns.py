"""Small structures that appear in exported graphs, found by their shape and not by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

import numpy as np
from onnx import NodeProto, numpy_helper

from .model import MOVEMENT, View, attribute

CARRIED = MOVEMENT | {"Cast"}
NORMS = ("LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization")


MASKED_NORM = frozenset(("Add", "Cast", "Div", "Mul", "Reciprocal", "ReduceMean", "Sqrt", "Sub", "Where"))
"""What a norm over a part of the places is made of."""


class DecomposedNorm(NamedTuple):
    """(x − mean) / √(mean of (x − mean)² + ε), written out."""

    source: str
    """The value that is normalised."""
    result: str
    axes: tuple[int, ...]
    epsilon: float
    nodes: tuple[NodeProto, ...]
    """From the first mean to the division."""


def decomposed_norms(view: View) -> Iterator[DecomposedNorm]:
    """All normalisations that are written out."""
    for node in view.nodes.values():
        if node.op_type == "Div" and (found := _norm_of(node, view)):
            yield found


def _norm_of(division: NodeProto, view: View) -> DecomposedNorm | None:
    centred, root = (view.producer.get(name) for name in division.input)
    if not _is(centred, "Sub") or not _is(root, "Sqrt"):
        return None
    shifted = view.producer.get(root.input[0])
    if not _is(shifted, "Add"):
        return None
    variance, epsilon = _operand_and_constant(shifted, view)
    variance_node = view.producer.get(variance or "")
    mean = view.producer.get(centred.input[1])
    if epsilon is None or not _is(mean, "ReduceMean") or not _is(variance_node, "ReduceMean"):
        return None
    square = view.producer.get(variance_node.input[0])
    if square is None or not _squares(square, centred.output[0], view):
        return None
    axes = reduce_axes(mean, view)
    if axes is None or axes != reduce_axes(variance_node, view) or mean.input[0] != centred.input[0]:
        return None
    nodes = (mean, centred, square, variance_node, shifted, root, division)
    return DecomposedNorm(centred.input[0], division.output[0], axes, epsilon, nodes)


def _is(node: NodeProto | None, kind: str) -> TypeGuard[NodeProto]:
    return node is not None and node.op_type == kind


def _squares(node: NodeProto, value: str, view: View) -> bool:
    """Whether a node computes the square of a value."""
    if node.input[0] != value:
        return False
    return (node.op_type == "Mul" and node.input[1] == value) or (
        node.op_type == "Pow" and view.scalar(node.input[1]) == 2
    )


def _operand_and_constant(node: NodeProto, view: View) -> tuple[str | None, float | None]:
    """The computed operand of a node, and the number that is the other one."""
    for value, other in ((0, 1), (1, 0)):
        number = view.scalar(node.input[other])
        if number is not None:
            return node.input[value], number
    return None, None


def masked_norms(view: View) -> Iterator[set[str]]:
    """Names of the nodes of every normalisation whose mean and variance are of a part of the places.

    Such a mean is that of all places, zero where they do not count, times their number over that of those that count.
    """
    for node in view.nodes.values():
        if node.op_type != "Div":
            continue
        centred, root = (view.producer.get(name) for name in node.input)
        shifted = view.producer.get(root.input[0]) if _is(root, "Sqrt") else None
        if not _is(centred, "Sub") or not _is(shifted, "Add"):
            continue
        variance = view.producer.get(_operand_and_constant(shifted, view)[0] or "")
        if _is(variance, "Mul") and any(_is(view.producer.get(name), "ReduceMean") for name in variance.input):
            yield ancestors(node, view, MASKED_NORM) | {each.name for each in affine_after(node.output[0], view)}


class LateScale(NamedTuple):
    """Attention scores that are scaled after the product of queries and keys."""

    product: NodeProto
    scaling: NodeProto
    factor: float


def late_scales(view: View) -> Iterator[LateScale]:
    """Scales between a product and its softmax, additions of masks and the like in between or not."""
    for node in view.nodes.values():
        maker = view.producer.get(node.input[0]) if node.op_type == "Softmax" else None
        while maker is not None and (maker.op_type in CARRIED or maker.op_type == "Add"):
            maker = view.producer.get(maker.input[0])
        if maker is None or maker.op_type not in ("Mul", "Div"):
            continue
        value, number = _operand_and_constant(maker, view)
        product = view.producer.get(value or "")
        while product is not None and product.op_type in CARRIED:
            product = view.producer.get(product.input[0])
        if _is(product, "MatMul") and number and not (maker.op_type == "Div" and maker.input[0] != value):
            yield LateScale(product, maker, number if maker.op_type == "Mul" else 1 / number)


def reduce_axes(node: NodeProto, view: View) -> tuple[int, ...] | None:
    """The axes of a reduction; None if they are not constant."""
    given = attribute(node, "axes")
    if isinstance(given, (list, tuple)):
        return tuple(int(axis) for axis in given)
    if len(node.input) < 2 or not node.input[1]:
        return ()
    tensor = view.initializers.get(node.input[1])
    return None if tensor is None else tuple(int(axis) for axis in np.atleast_1d(numpy_helper.to_array(tensor)))


def affine_after(value: str, view: View) -> list[NodeProto]:
    """The multiplication and addition of constants that follow a normalisation, if they are all that reads it."""
    found: list[NodeProto] = []
    for kind in ("Mul", "Add"):
        readers = view.consumers.get(value, [])
        if len(readers) != 1 or readers[0].op_type != kind:
            break
        if not any(view.constant(name) is not None for name in readers[0].input):
            break
        found.append(readers[0])
        value = readers[0].output[0]
    return found


def ancestors(start: NodeProto, view: View, through: frozenset[str] | None = None, limit: int = 64) -> set[str]:
    """Names of the nodes that a node's result is made from, itself included.

    Args:
        start: the node.
        view: of its graph.
        through: operators to go through; None means all.
        limit: nodes past which the walk gives up and only `start` is returned.
    """
    found, ahead = {start.name}, [start]
    while ahead:
        node = ahead.pop()
        for name in node.input:
            maker = view.producer.get(name)
            if maker is None or maker.name in found or (through is not None and maker.op_type not in through):
                continue
            found.add(maker.name)
            ahead.append(maker)
        if len(found) > limit:
            return {start.name}
    return found
