"""Looking into a graph while it runs: the range and a sample of every value, without keeping the values.

SAM's encoder has arrays of 800 MB. A tap reduces its value inside the graph to two extremes and a few thousand
elements, so that hundreds of values can be watched in one run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..stage.contract import StageContract, TensorSpec
from .emulate import model_session
from .model import MOVEMENT, replace_nodes
from .shapes import ValueType, value_types

SAMPLE = 4096
"""Most elements of a value's sample."""

LOW, HIGH, PART = "tap_low_", "tap_high_", "tap_part_"


class Tap(NamedTuple):
    """A value's range, and a sample of it."""

    low: float
    high: float
    sample: np.ndarray
    """Elements at regular steps along every axis: float32, flat."""

    @property
    def largest(self) -> float:
        """The largest finite magnitude of the two extremes; infinite values of masks do not count."""
        return max((abs(end) for end in (self.low, self.high) if math.isfinite(end)), default=0.0)

    @property
    def finite(self) -> bool:
        """Whether neither extreme nor the sample is NaN or infinite."""
        return math.isfinite(self.low) and math.isfinite(self.high) and bool(np.isfinite(self.sample).all())


def computed_values(model: ModelProto) -> list[str]:
    """Float values that nodes compute; what only moves values shows nothing new."""
    types = value_types(model)
    return [
        name
        for node in model.graph.node
        if node.op_type not in MOVEMENT
        for name in node.output
        if name and types[name].dtype == TensorProto.FLOAT
    ]


def watch(
    model: ModelProto,
    contract: StageContract,
    feeds: Mapping[str, np.ndarray],
    values: Iterable[str],
    *,
    threads: int | None = None,
) -> dict[str, Tap]:
    """Run an FP32 graph once and look at values.

    Args:
        model: the graph, or an emulated one.
        contract: its inputs and outputs.
        feeds: an array for every input.
        values: names of float values of fixed shape.
        threads: threads within an operator.
    """
    wanted = list(values)
    if not wanted:
        return {}
    types = value_types(model, {name: array.shape for name, array in feeds.items()})
    tapped = _tapped(model, wanted, types)
    ranks = {name: {LOW: 0, HIGH: 0, PART: len(types[name].shape or ())} for name in wanted}
    outputs = tap_contract(contract, {prefix + name: rank for name in wanted for prefix, rank in ranks[name].items()})
    with model_session(tapped, outputs, threads=threads, in_order=True) as session:
        came = session.run_unchecked(feeds)
    return {
        name: Tap(float(came[LOW + name].reshape(())), float(came[HIGH + name].reshape(())), came[PART + name].ravel())
        for name in wanted
    }


def steps(shape: tuple[int, ...], most: int = SAMPLE) -> list[int]:
    """A step for every axis so that at most `most` elements are left; long axes are thinned first."""
    chosen = [1] * len(shape)
    counts = list(shape)
    while math.prod(counts) > most:
        axis = max(range(len(shape)), key=lambda i: counts[i])
        chosen[axis] += 1
        counts[axis] = -(-shape[axis] // chosen[axis])
    return chosen


def _tapped(model: ModelProto, values: list[str], types: Mapping[str, ValueType]) -> ModelProto:
    """The graph with three small outputs for every value, each right behind the node that makes it."""
    names = [prefix + name for name in values for prefix in (LOW, HIGH, PART)]
    return with_outputs(model, {name: _tap_nodes(name, types[name]) for name in values}, names)


Added = tuple[list[NodeProto], list[TensorProto]]
"""Nodes, and the constants that they read."""


def with_outputs(model: ModelProto, added: Mapping[str, Added], outputs: list[str]) -> ModelProto:
    """A graph with other outputs, float ones, and the nodes that make them.

    Args:
        model: a graph with named nodes.
        added: what reads a value, by the value's name; it stands right behind what makes the value.
        outputs: names of the only outputs.
    """
    graph = model.graph
    nodes = [node for value in graph.input for node in added.get(value.name, ([], []))[0]]
    for node in graph.node:
        nodes.append(node)
        nodes += [new for name in node.output for new in added.get(name, ([], []))[0]]
    constants = [tensor for _, tensors in added.values() for tensor in tensors]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    made_graph = helper.make_graph([], graph.name, graph.input, infos, [*graph.initializer, *constants])
    result = helper.make_model(made_graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    replace_nodes(result, nodes)
    return result


def _tap_nodes(name: str, kind: ValueType) -> Added:
    assert kind.shape is not None and kind.size >= 0, "shapes are fixed by the feeds"
    shape = tuple(int(n) for n in kind.shape if isinstance(n, int))
    nodes = [
        helper.make_node("ReduceMin", [name], [LOW + name], name=LOW + name, keepdims=0),
        helper.make_node("ReduceMax", [name], [HIGH + name], name=HIGH + name, keepdims=0),
    ]
    if not shape:
        return [*nodes, helper.make_node("Identity", [name], [PART + name], name=PART + name)], []
    zeros, ends = [0] * len(shape), list(shape)
    places = {"start": zeros, "end": ends, "axes": list(range(len(shape))), "step": steps(shape)}
    constants = [
        numpy_helper.from_array(np.array(array, np.int64), f"{PART}{what}_{name}") for what, array in places.items()
    ]
    inputs = [name, *(tensor.name for tensor in constants)]
    return [*nodes, helper.make_node("Slice", inputs, [PART + name], name=PART + name)], constants


def tap_contract(contract: StageContract, ranks: Mapping[str, int]) -> StageContract:
    """A contract of the same inputs with other outputs, of any size.

    Args:
        contract: of the graph.
        ranks: how many axes each of the outputs has.
    """
    shapes = {name: tuple(f"axis {index} of {name}" for index in range(rank)) for name, rank in ranks.items()}
    specs = tuple(
        TensorSpec(name=name, dtype="float32", shape=shape, layout="tap", range="any") for name, shape in shapes.items()
    )
    return StageContract(stage=contract.stage, inputs=contract.inputs, outputs=specs)
