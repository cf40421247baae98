"""SAM ViT-B's encoder at full size in half precision: the largest graph, and the one that is reported to go wrong."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ovdeploy.export.bundling.onnx_export import export_onnx
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import load_recipe
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.graph.census import take_census
from ovdeploy.runtime.graph.emulate import emulated, model_session
from ovdeploy.runtime.graph.half import to_half
from ovdeploy.runtime.graph.islands import STANDARD, island_nodes
from ovdeploy.runtime.graph.lint import lint_model
from ovdeploy.runtime.graph.model import load_model
from ovdeploy.runtime.graph.search import Limits, agreement
from support.samples import draw_photo

pytestmark = pytest.mark.slow


def test_sam_vit_b_agrees_with_fp32_and_is_half(tmp_path):
    full, tiny = load_recipe("trident-b16"), load_recipe("micro")
    models = tiny.models | {"sam": msgspec.structs.replace(full.models["sam"], weights="random:3")}
    parameters = msgspec.structs.replace(tiny.parameters, affinity_factor=1.2)
    networks = Networks.load(msgspec.structs.replace(tiny, models=models, parameters=parameters))
    contract, path = networks.contract("sam_encoder"), tmp_path / "sam_encoder.onnx"
    export_onnx(networks.modules["sam_encoder"], contract, path)
    image = np.ascontiguousarray(draw_photo((1024, 1024)).transpose(2, 0, 1)[None].astype(np.float32))
    valid = np.zeros((64, 64), np.float32)
    valid[:43] = 1
    scalars = {"affinity_factor": np.array(1.2, np.float32), "keep_negative": np.array(True)}
    feeds = {"image": image, "valid_tokens": valid.ravel(), **scalars}
    with open_session(path, contract, "onnxruntime") as session:
        expected = session.run(feeds)
    model = load_model(path)
    half = to_half(model, "fp16", island_nodes(model, STANDARD))
    del model
    census = take_census(half, contract)
    assert census.share("weights", "fp16") >= 0.95 and census.share("flops", "fp16") >= 0.9
    assert lint_model(half, (11, 4)) == []
    with model_session(emulated(half), contract) as session:
        came = session.run(feeds)
    tolerances = full.tolerances
    assert agreement(came, expected).within(Limits(tolerances.half_cosine, tolerances.half_relative))
