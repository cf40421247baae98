"""Graphs past protobuf's 2 GiB: weights go beside the graph, and are part of the bundle like any file."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from ovdeploy.export.bundling import onnx_export
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.onnx_export import export_onnx
from ovdeploy.runtime import Bundle, BundleError, Segmenter
from ovdeploy.runtime.graph import model as graph_model
from ovdeploy.runtime.stage.contract import Axis, StageContract, TensorSpec


class Products(nn.Module):
    """`count` products with square matrices, each of `width`² · 4 bytes."""

    def __init__(self, width, count):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(count)])
        for layer in self.layers:
            nn.init.constant_(layer.weight, 1 / width)

    def forward(self, x):
        x = self.norm(x) + 1
        for layer in self.layers:
            x = layer(x)
        return x


def contract(width):
    specs = [TensorSpec(name=n, dtype="float32", shape=("B", width), layout="row, column", range="any") for n in "xy"]
    rows = Axis(smallest=1, usual=2, largest=4, example=2)
    return StageContract(stage="products", inputs=(specs[0],), outputs=(specs[1],), axes={"B": rows})


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(graph_model, "EXTERNAL_DATA_ABOVE", 10_000)
    monkeypatch.setattr(onnx_export, "SET_ASIDE_ABOVE", 1_000)


def run(path, x):
    return torch.from_numpy(onnxruntime.InferenceSession(str(path)).run(None, {"x": x.numpy()})[0])


def test_weights_beside_the_graph_compute_the_same(tmp_path, small_limits):
    module, x = Products(64, 3).eval().requires_grad_(False), torch.randn(3, 64)
    export_onnx(module, contract(64), tmp_path / "g.onnx")
    data = tmp_path / "g.onnx.data"
    assert data.stat().st_size >= 3 * 64 * 64 * 4 > (tmp_path / "g.onnx").stat().st_size
    assert data.stat().st_mode == (tmp_path / "g.onnx").stat().st_mode
    torch.testing.assert_close(run(tmp_path / "g.onnx", x), module(x))


def test_only_the_contracts_inputs_remain(tmp_path, small_limits):
    export_onnx(Products(64, 3).eval().requires_grad_(False), contract(64), tmp_path / "g.onnx")
    graph = onnx.load(tmp_path / "g.onnx", load_external_data=False).graph
    assert [value.name for value in graph.input] == ["x"]


def test_a_bundle_holds_and_verifies_them(micro_networks, tmp_path, small_limits, photo, vocabulary):
    build_bundle(micro_networks, tmp_path / "b")
    entry = Bundle.load(tmp_path / "b").stage("clip_image").engines["fp32"]
    assert [file.path.partition(".")[0] for file in entry.files] == ["clip_image", "clip_image"]
    with Segmenter.load(tmp_path / "b") as segmenter:
        assert segmenter.segment(photo, vocabulary).mask.shape == photo.shape[:2]
    data = tmp_path / "b" / entry.files[1].path
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(BundleError, match=data.name):
        Segmenter.load(tmp_path / "b")


@pytest.mark.slow
def test_more_than_protobuf_can_hold(tmp_path):
    """2.15 GB of weights."""
    module, x = Products(8192, 8).eval().requires_grad_(False), torch.randn(2, 8192)
    export_onnx(module, contract(8192), tmp_path / "g.onnx")
    assert (tmp_path / "g.onnx.data").stat().st_size > 2**31
    torch.testing.assert_close(run(tmp_path / "g.onnx", x), module(x))
