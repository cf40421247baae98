"""A graph in which every product can be in eight bits or float, at any range, without loading it again.

Ranges and switches are inputs, so that a search tries hundreds of choices with one session. It computes what the
format means, in floats: sums of products of INT8 are exact, as integers' are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..backends.base import Session
from ..stage.contract import StageContract, TensorSpec
from ..stage.precision import INT8
from .emulate import model_session
from .model import replace_nodes
from .products import Product
from .qdq import CHANNEL, FORMATS, Format, quantised_weight

SCALE, SWITCH = "probe_scale_", "probe_switch_"


class Probe:
    """An FP32 graph with switches. A context manager."""

    def __init__(
        self,
        model: ModelProto,
        contract: StageContract,
        products: Sequence[Product],
        of: Format = FORMATS[INT8],
        *,
        weight_bits: int = 8,
    ) -> None:
        """A probe.

        Args:
            model: an FP32 graph with named nodes, its Gemms split.
            contract: its inputs and outputs.
            products: those that have a switch.
            of: the format that they are switched to.
            weight_bits: of weights, 8 or 7.
        """
        self._products, self._format = list(products), of
        self._values = list(dict.fromkeys(product.value for product in products))
        inputs = (
            *contract.inputs,
            *(_spec(SCALE + value, "float32") for value in self._values),
            *(_spec(SWITCH + product.node, "bool") for product in self._products),
        )
        wider = StageContract(stage=contract.stage, inputs=inputs, outputs=contract.outputs)
        self._session: Session = model_session(_switched(model, self._products, of, weight_bits), wider)

    def run(
        self, feeds: Mapping[str, np.ndarray], limits: Mapping[str, float], on: Collection[str]
    ) -> dict[str, np.ndarray]:
        """The outputs with some products in eight bits.

        Args:
            feeds: an array for every input of the contract.
            limits: for every value that such a product reads, the magnitude that stands for the largest number.
            on: names of those products.
        """
        extra: dict[str, np.ndarray] = {
            SCALE + value: np.array(self._format.scale(limits.get(value, 1.0))) for value in self._values
        }
        extra |= {SWITCH + product.node: np.array(product.node in on) for product in self._products}
        return self._session.run_unchecked({**feeds, **extra})

    def close(self) -> None:
        """Free the session."""
        self._session.close()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _spec(name: str, dtype: str) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=(), layout="scalar", range="any")


def _switched(model: ModelProto, products: Sequence[Product], of: Format, weight_bits: int) -> ModelProto:
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    chosen = {product.node: product for product in products}
    added: dict[str, TensorProto] = {"probe_zero": of.zeros((), "probe_zero")}
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in graph.node:
        copy = NodeProto.FromString(node.SerializeToString())
        if node.name in chosen:
            value, weight = copy.input[0], copy.input[1]
            if value not in done:
                nodes += _round_trip(value)
            if f"{weight}_probe" not in added:
                array = numpy_helper.to_array(tensors[weight])
                eight = quantised_weight(array, CHANNEL[node.op_type], of, weight_bits)
                added[f"{weight}_probe"] = numpy_helper.from_array(eight.dequantised(), f"{weight}_probe")
            done.add(value)
            for index, name in enumerate((value, weight)):
                copy.input[index] = f"{node.name}_probe_{index}"
                choice = [SWITCH + node.name, f"{name}_probe", name]
                nodes.append(helper.make_node("Where", choice, [copy.input[index]], name=copy.input[index]))
        nodes.append(copy)
    scalars = [helper.make_tensor_value_info(SCALE + value, TensorProto.FLOAT, []) for value in sorted(done)]
    scalars += [helper.make_tensor_value_info(SWITCH + name, TensorProto.BOOL, []) for name in chosen]
    made = helper.make_graph(
        [], graph.name, [*graph.input, *scalars], graph.output, [*graph.initializer, *added.values()]
    )
    result = helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    replace_nodes(result, nodes)
    return result


def _round_trip(value: str) -> list[NodeProto]:
    """To eight bits and back, by a scale that is an input."""
    inner, scale = f"{value}_probe_eight", SCALE + value
    return [
        helper.make_node("QuantizeLinear", [value, scale, "probe_zero"], [inner], name=inner),
        helper.make_node("DequantizeLinear", [inner, scale, "probe_zero"], [f"{value}_probe"], name=f"{value}_probe"),
    ]
