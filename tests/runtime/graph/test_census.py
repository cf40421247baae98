from __future__ import annotations

import shutil

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.runtime import Bundle, BundleError, Segmenter
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from ovdeploy.runtime.cli.inspect import inspect
from ovdeploy.runtime.graph.census import nominal_shapes, take_census
from ovdeploy.runtime.graph.flops import node_flops
from ovdeploy.runtime.graph.half import to_half
from ovdeploy.runtime.stage.census import Census, check_census, missing_precision
from support.bundles import engine_file
from support.graphs import contract_of, graph

f32 = np.float32
MLP = "(float[B, 8] x) => (float[B, 4] y)"


def mlp():
    return graph(MLP, "a = MatMul(x, w) b = Relu(a) y = MatMul(b, v)", w=np.ones((8, 16), f32), v=np.ones((16, 4), f32))


@pytest.fixture(scope="module")
def half_bundle(micro_bundle, micro_networks, tmp_path_factory):
    folder = shutil.copytree(micro_bundle, tmp_path_factory.mktemp("half") / "b")
    build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, "fp16"))
    return folder


def test_a_census_counts_weights_nodes_and_operations():
    model = mlp()
    census = take_census(to_half(model, "fp16", {"MatMul_y"}), contract_of(model))
    assert census.weights == {"fp16": 128, "fp32": 64}
    assert census.nodes == {"fp16": 2, "fp32": 1}, "casts compute nothing"
    assert census.flops == {"fp16": 2 * 8 * 16 + 16, "fp32": 2 * 16 * 4}
    assert census.share("weights", "fp16") == pytest.approx(2 / 3) and census.share("nodes", "bf16") == 0


def test_quantised_nodes_are_counted_as_int8():
    body = (
        "a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) d = DequantizeLinear(w, s, z) c = MatMul(b, d) "
        "y = Relu(c)"
    )
    model = graph(MLP, body, w=np.ones((8, 4), np.int8), s=f32(0.1), z=np.int8(0))
    census = take_census(model, contract_of(model))
    assert census.weights == {"int8": 32} and census.nodes == {"int8": 1, "fp32": 1}


@pytest.mark.parametrize(
    ("signature", "body", "weights", "expected"),
    [
        ("(float[3, 5, 8] x) => (float[3, 5, 4] y)", "y = MatMul(x, w)", {"w": np.ones((8, 4), f32)}, 30 * 8 * 4),
        ("(float[5, 8] x) => (float[5, 4] y)", "y = Gemm<transB=1>(x, w)", {"w": np.ones((4, 8), f32)}, 2 * 5 * 8 * 4),
        ("(float[8, 5] x) => (float[5, 4] y)", "y = Gemm<transA=1>(x, w)", {"w": np.ones((8, 4), f32)}, 2 * 5 * 8 * 4),
        ("(float[1, 2, 6, 6] x) => (float[1, 3, 4, 4] y)", "y = Conv(x, w)",
         {"w": np.ones((3, 2, 3, 3), f32)}, 2 * 48 * 18),
        ("(float[1, 2, 3, 3] x) => (float[1, 4, 6, 6] y)", "y = ConvTranspose<strides=[2, 2]>(x, w)",
         {"w": np.ones((2, 4, 2, 2), f32)}, 2 * 18 * 16),
        ("(float[3, 5, 8] x) => (float[3, 5, 4] y)", 'y = Einsum<equation="bic,kc->bik">(x, w)',
         {"w": np.ones((4, 8), f32)}, 2 * 3 * 5 * 4 * 8),
        ("(float[4, 6] x) => (float[4, 6] y)", "y = Softmax(x)", {}, 5 * 24),
        ("(float[4, 6] x) => (float[4, 1] y)", "y = ReduceSum(x, a)", {"a": np.array([1])}, 24),
        ("(float[4, 6] x) => (float[6, 4] y)", "y = Transpose(x)", {}, 0),
    ],
)  # fmt: skip
def test_flops_are_those_of_the_textbook(signature, body, weights, expected):
    model = graph(signature, body, **weights)
    assert sum(node_flops(model, nominal_shapes(contract_of(model))).values()) == expected


def test_shapes_that_are_computed_are_known(micro_bundle):
    """Head: ranges, products and concatenations of sizes; every node's cost comes out."""
    from ovdeploy.runtime.graph.model import load_model

    contract = Bundle.load(micro_bundle).stage("head").contract
    costs = node_flops(load_model(engine_file(micro_bundle, "head")), nominal_shapes(contract))
    tokens = contract.axes["vh"].usual * contract.axes["vw"].usual
    assert costs["node_matmul_2"] == 2 * tokens**2 * 64, "the affinity times the features"


def test_an_engine_is_what_it_goes_by_or_not():
    census = Census(weights={"fp16": 90, "fp32": 10}, nodes={"fp16": 1}, flops={"fp16": 40, "fp32": 60})
    assert missing_precision(Census(weights={}, nodes={}, flops={}), "fp16") is None, "nothing to count"
    assert "40.0% of its flops are fp16" in str(missing_precision(census, "fp16"))
    with pytest.raises(BundleError, match=r"dino.onnx goes by int8.*fp32 10.0%.*again: make it"):
        check_census(census, "int8", "dino.onnx", "make it")
    with pytest.raises(BundleError, match="no census"):
        check_census(None, "fp16", "dino.onnx", "make it")
    check_census(None, "fp32", "dino.onnx", "make it")


def test_a_half_bundle_is_told_by_inspect_and_runs(half_bundle, vocabulary, photo):
    result = CliRunner().invoke(inspect, [str(half_bundle)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines() if line.split()[1:3] == ["fp16", "fp16"]]
    assert {line[0] for line in lines} == set(Bundle.load(half_bundle).manifest.stages)
    assert all(float(line[3].strip("%,")) >= 95 for line in lines), "of the weights"
    with Segmenter.load(half_bundle, precision="fp16") as half, Segmenter.load(half_bundle) as full:
        options = {"refine": False}
        came = half.segment(photo, vocabulary, parameters=options).mask
        assert (came == full.segment(photo, vocabulary, parameters=options).mask).mean() > 0.97


def mislabelled(folder, tmp_path, census):
    """The FP32 head under the name of the FP16 one, its hash put right: what others ship without a word."""
    folder = shutil.copytree(folder, tmp_path / "b")
    shutil.copy(engine_file(folder, "head"), folder / "head.fp16.onnx")
    manifest = Bundle.load(folder).manifest
    entry = manifest.stages["head"]
    fields = {"files": (file_entry(folder / "head.fp16.onnx"),), **census}
    engine = msgspec.structs.replace(entry.engines["fp16"], **fields)
    manifest.stages["head"] = msgspec.structs.replace(entry, engines={**entry.engines, "fp16": engine})
    write_manifest(folder, manifest)
    return folder


def test_an_fp32_graph_called_fp16_is_refused_at_load(half_bundle, tmp_path):
    folder = mislabelled(half_bundle, tmp_path, {})
    with pytest.raises(BundleError, match=r"head.fp16.onnx goes by fp16, but 0.0% of its weights.*--precision fp16"):
        Segmenter.load(folder, precision="fp16")
    assert CliRunner().invoke(inspect, [str(folder)]).exit_code == 1


def test_without_onnx_the_manifest_is_believed(half_bundle, tmp_path, monkeypatch):
    import sys

    fp32 = Bundle.load(half_bundle).census("head", "fp32")
    assert fp32 is not None and fp32.share("flops", "fp32") == 1
    folder = mislabelled(half_bundle, tmp_path, {"census": fp32})
    monkeypatch.setitem(sys.modules, "ovdeploy.runtime.graph.census", None)  # as if onnx were not installed
    with pytest.raises(BundleError, match="goes by fp16"):
        Bundle.load(folder).engine_path("head", "fp16")
    assert Bundle.load(half_bundle).engine_path("head", "fp16").is_file()
