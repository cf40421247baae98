"""Graphs in a precision, for what asks only whether they can be built."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from ovdeploy.runtime.graph.half import to_half
from ovdeploy.runtime.graph.islands import StageIslands, island_nodes
from ovdeploy.runtime.graph.model import load_model
from ovdeploy.runtime.graph.products import products, split_gemms, still_there
from ovdeploy.runtime.graph.qdq import CHANNEL, FORMATS, quantise, quantise_weights
from ovdeploy.runtime.stage.precision import FP32, HALF, INT8W, RESTS, STORED_AS

LIMIT = 8.0
"""The range of every value, for INT8 and FP8: it does not matter to what is built."""


def graph_in(precision: str, path: Path, islands: StageIslands) -> ModelProto:
    """An FP32 graph in a precision; products in islands are not quantised."""
    model = load_model(path)
    nodes = island_nodes(model, islands)
    if precision not in (FP32, *HALF):
        model = split_gemms(model)
        found = (
            products(model, CHANNEL) if precision == INT8W else products(model)
        )  # convolutions too, as exports have it
        chosen = [product for product in found if product.node not in nodes]
        limits = {product.value: LIMIT for product in chosen}
        of = FORMATS[STORED_AS.get(precision, precision)]
        model = quantise_weights(model, chosen, of) if precision == INT8W else quantise(model, chosen, limits, of)
    rest = RESTS.get(precision, precision)
    return model if rest == FP32 else to_half(model, rest, still_there(model, nodes))
