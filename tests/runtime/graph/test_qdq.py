from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import numpy_helper

from ovdeploy.runtime.errors import ExportError
from ovdeploy.runtime.graph.census import take_census
from ovdeploy.runtime.graph.emulate import emulated, model_session
from ovdeploy.runtime.graph.half import to_half
from ovdeploy.runtime.graph.lint import lint_model
from ovdeploy.runtime.graph.model import check_file, save_model
from ovdeploy.runtime.graph.observe import Observer, together
from ovdeploy.runtime.graph.probe import Probe
from ovdeploy.runtime.graph.products import products, split_gemms
from ovdeploy.runtime.graph.qdq import FORMATS, quantise, quantise_weights, quantised, quantised_weight
from support.blocks import feeds, mlp
from support.graphs import contract_of, graph

f32 = np.float32
LIMITS = {"m": 65.0, "a": 92.0, "p": 64.0}


def run(model, given):
    # unfused: x86 CPUs without VNNI saturate sums of 8-bit products, and small matrices are full of largest steps
    with model_session(model, contract_of(model), in_order=True) as session:
        return session.run_unchecked(given)


def int8(limits=LIMITS, **options):
    model = split_gemms(mlp())
    return quantise(model, products(model), limits, FORMATS["int8"], **options)


def test_splitting_gemms_changes_no_value():
    model = split_gemms(mlp())
    assert not [node for node in model.graph.node if node.op_type == "Gemm"]
    assert [(p.node, p.value, p.block) for p in products(model)] == [
        ("Gemm_h", "m", "encoder.blocks.0"),
        ("MatMul_k", "a", "encoder.blocks.0"),
        ("MatMul_q", "p", "encoder.blocks.1"),
    ]
    came, expected = run(model, feeds())["y"], run(mlp(), feeds())["y"]
    np.testing.assert_allclose(came, expected, atol=1e-4)  # float32, sums in another order, values up to 100


def test_gemms_that_do_more_than_a_product_stay():
    model = graph("(float[2, 4] x) => (float[2, 4] y)", "y = Gemm<alpha = 2.0>(x, w)", w=np.ones((4, 4), f32))
    assert [node.op_type for node in split_gemms(model).graph.node] == ["Gemm"] and not products(model)


def test_products_of_two_computed_values_are_none():
    model = graph("(float[4, 4] x) => (float[4, 4] y)", "y = MatMul(x, x)")
    assert products(model) == []


def test_the_graph_is_explicit_and_symmetric(tmp_path):
    model = int8()
    assert Counter(node.op_type for node in model.graph.node)["QuantizeLinear"] == 3
    assert Counter(node.op_type for node in model.graph.node)["DequantizeLinear"] == 6
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    zeros = [array for name, array in tensors.items() if name.endswith("_zero")]
    assert all(array.dtype == np.int8 and not array.any() for array in zeros) and len(zeros) == 6
    assert tensors["encoder.blocks.1.w_int8"].dtype == np.int8 and tensors["encoder.blocks.1.w_scale"].shape == (8,)
    assert "encoder.blocks.1.w" not in tensors, "the float weight is gone"
    assert tensors["c1"].dtype == f32, "biases stay float"
    assert {opset.domain for opset in model.opset_import} == {""}
    save_model(model, tmp_path / "int8.onnx")
    check_file(tmp_path / "int8.onnx", "mlp")
    assert lint_model(model, (10, 15)) == []
    census = take_census(model, contract_of(model))
    assert census.nodes["int8"] == 3 and census.weights["int8"] == 8 * 16 * 2 + 64


def test_weights_are_the_nearest_steps_of_every_channel():
    weight = np.random.default_rng(0).standard_normal((5, 3)).astype(f32) * np.array([1, 100, 0], f32)
    made = quantised_weight(weight, 1, FORMATS["int8"])
    assert np.abs(made.values).max(axis=0).tolist() == [127, 127, 0] and np.isfinite(made.scales).all()
    assert (np.abs(made.dequantised() - weight) <= made.scales * 0.5001).all(), "half a step, and float32's rounding"


def saturating(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`vpmaddubsw` along a product: unsigned by signed numbers, each two neighbours added in 16 bits that saturate."""
    length = left.shape[1]
    total = np.zeros((len(left), right.shape[1]), np.int64)
    for k in range(0, length, 2):
        pair = sum(
            np.outer(left[:, i].astype(np.int64), right[i].astype(np.int64)) for i in range(k, min(k + 2, length))
        )
        total += np.clip(pair, -(2**15), 2**15 - 1)
    return total


weights = st.integers(1, 9).flatmap(
    lambda rows: hnp.arrays(f32, (rows, 3), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False))
)


@given(weights)
def test_weights_of_seven_bits_never_saturate_and_are_at_least_as_fine_as_that(weight):
    """Of all unsigned numbers 0 and 255 are the worst."""
    made = quantised_weight(weight, 1, FORMATS["int8"], 7)
    rows = len(weight)
    worst = np.array([[255 * (bits >> i & 1) for i in range(rows)] for bits in range(2**rows)])
    assert (saturating(worst, made.values) == worst @ made.values.astype(np.int64)).all()
    assert (made.scales <= np.maximum(np.abs(weight).max(axis=0) / 63, 1) * 1.00001).all()
    assert (np.abs(made.dequantised() - weight) <= made.scales * 0.5001).all()


def test_an_outlier_among_small_weights_keeps_its_eight_bits():
    weight = np.array([[1.0], [0.001], [0.3], [0.3]], f32)
    assert quantised_weight(weight, 1, FORMATS["int8"], 7).values.ravel().tolist() == [127, 0, 38, 38]
    even = quantised_weight(np.ones((4, 1), f32), 1, FORMATS["int8"], 7).values
    assert np.abs(even).max() == 64, "two of 64 add up to 128"


def test_numbers_are_those_of_onnx_runtimes_quantizer(tmp_path):
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.shape_inference.infer_shapes(split_gemms(mlp()))
    names = [product.node for product in products(model)]
    ranges = {name: TensorData(lowest=f32(-limit), highest=f32(limit)) for name, limit in LIMITS.items()}
    options = {
        "ActivationSymmetric": True, "QuantizeBias": False, "MatMulConstBOnly": True,
        "OpTypesToExcludeOutputQuantization": ["MatMul"],
    }  # fmt: skip
    theirs = QDQQuantizer(
        model, True, False, QuantType.QInt8, QuantType.QInt8, TensorsData(CalibrationMethod.MinMax, ranges), names, [],
        ["MatMul"], options,
    )  # fmt: skip
    theirs.quantize_model()
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in theirs.model.model.graph.initializer}
    ours = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8().graph.initializer}
    for value in LIMITS:
        np.testing.assert_allclose(
            ours[f"{value}_scale"], tensors[f"{value}_scale"], rtol=0.005
        )  # they divide by 127.5
    weight = "encoder.blocks.1.w"
    np.testing.assert_allclose(ours[f"{weight}_scale"], tensors[f"{weight}_scale"], rtol=0.005)
    assert np.abs(ours[f"{weight}_int8"].astype(int) - tensors[f"{weight}_quantized"]).max() <= 1


@pytest.mark.parametrize("limit", [None, 0.0, float("nan"), float("inf"), 1e-42])
def test_a_value_without_a_range_is_refused(limit):
    with pytest.raises(ExportError, match="p, which MatMul_q reads, has no range"):
        int8({**LIMITS, "p": limit})


def test_int8_stays_close_and_clips_beyond_its_limit():
    expected = run(mlp(), feeds())["y"]
    error = [np.linalg.norm(run(int8(limits), feeds())["y"] - expected) / np.linalg.norm(expected)
             for limits in (LIMITS, {name: limit / 20 for name, limit in LIMITS.items()})]  # fmt: skip
    assert error[0] < 0.05 < error[1], "127 steps a side are worth a few per cent with an outlier; clipping is worse"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_int8_and_half_combine(precision, tmp_path):
    mixed = to_half(int8(), precision)
    census = take_census(mixed, contract_of(mixed))
    assert census.nodes["int8"] == 3 and "fp32" not in census.nodes and census.nodes[precision] >= 5
    save_model(mixed, tmp_path / "mixed.onnx")
    check_file(tmp_path / "mixed.onnx", "mlp")
    assert lint_model(mixed, (10, 15)) == []
    came, expected = run(emulated(mixed), feeds())["y"], run(int8(), feeds())["y"]
    assert np.linalg.norm(came - expected) / np.linalg.norm(expected) < {"fp16": 0.02, "bf16": 0.05}[precision]


@pytest.mark.parametrize("name", FORMATS)
def test_a_probe_computes_what_the_graph_would(name):
    model = split_gemms(mlp())
    chosen = products(model)
    with Probe(model, contract_of(model), chosen, FORMATS[name]) as probe:
        every = {product.node for product in chosen}
        for on in ({}, {"MatMul_k"}, every):
            part = [product for product in chosen if product.node in on]
            expected = run(quantise(split_gemms(mlp()), part, LIMITS, FORMATS[name]), feeds())["y"]
            # the engine may sum integers, the probe sums floats; no value falls between two steps here
            np.testing.assert_allclose(probe.run(feeds(), LIMITS, on)["y"], expected, rtol=1e-4, atol=1e-3)


def test_a_probes_weights_have_as_many_bits_as_asked_for():
    model = split_gemms(mlp())
    chosen = products(model)
    every = {product.node for product in chosen}
    with Probe(model, contract_of(model), chosen, weight_bits=7) as probe:
        came = probe.run(feeds(), LIMITS, every)["y"]
    np.testing.assert_allclose(came, run(int8(weight_bits=7), feeds())["y"], rtol=1e-4, atol=1e-3)


def test_an_observer_sees_every_channels_largest_and_whole_rows():
    model = mlp()
    given = feeds(200)
    with Observer(model, contract_of(model), ["n", "x"]) as observer:
        seen, again = observer.observe(given), observer.observe(feeds(200, seed=2))
    x = given["x"].reshape(-1, 8)
    assert seen["x"].largest.tolist() == np.abs(x).max(axis=0).tolist()
    assert {tuple(row) for row in seen["x"].rows} <= {tuple(row) for row in x}
    assert seen["n"].largest.argmax() == 3, "the outlier's channel"
    both = together([seen["n"], again["n"]])
    assert len(both.rows) == len(seen["n"].rows) * 2 and (both.largest >= seen["n"].largest).all()


@pytest.mark.parametrize("name", FORMATS)
def test_rounding_in_numpy_is_that_of_the_operators(name):
    of = FORMATS[name]
    values = np.array([-1000, -1.5, -0.5, 0, 1e-4, 0.2, 0.5, 1.5, 17, 18, 19, 455, 465, 1e30], f32)
    model = graph(
        f"(float[{len(values)}] x) => (float[{len(values)}] y)",
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)",
        s=of.scale(of.largest),
    )
    model.graph.initializer.append(of.zeros((), "z"))
    assert run(model, {"x": values})["y"].tolist() == quantised(values, of.largest, of).tolist()


def test_fp8_is_rounded_to_nearest_even_of_three_bits_and_saturates():
    """E4M3: 17 lies between 16 and 18, 464 between 448 and nothing."""
    values = np.array([16, 17, 18, 19, 21, 464, 1e9, -1e9, 2.0**-9, 2.0**-11], f32)
    came = quantised(values, 448.0, FORMATS["fp8"])
    assert came.tolist() == [16, 16, 18, 20, 20, 448, 448, -448, 2.0**-9, 0]


def test_fp8_scales_keep_their_bits_in_fp16():
    weight = np.full((4, 3), 1e-3, f32) * np.array([1, 1e-3, 1e3], f32)
    made = quantised_weight(weight, 1, FORMATS["fp8"])
    assert (made.scales >= 2.0**-14).all() and made.values.dtype.itemsize == 1
    # relative error of a number with three bits of mantissa: at most half of 2^-3
    np.testing.assert_allclose(made.dequantised()[:, [0, 2]], weight[:, [0, 2]], rtol=2**-4)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rest", ["fp32", "fp16"])
def test_weights_alone_are_stored_in_eight_bits_and_change_little(name, rest):
    model = split_gemms(mlp())
    made = quantise_weights(model, products(model), FORMATS[name])
    if rest == "fp16":
        made = emulated(to_half(made, "fp16", ()))
    assert not [node for node in made.graph.node if node.op_type == "QuantizeLinear"]
    census = take_census(quantise_weights(split_gemms(mlp()), products(model), FORMATS[name]), contract_of(model))
    assert census.weights[name] == 8 * 16 * 2 + 64 and name not in census.nodes, "the products stay float"
    came, expected = run(made, feeds())["y"], run(mlp(), feeds())["y"]
    # half a step of each of 16 weights in a row: 1/254 for INT8, 1/16 of the weight for FP8
    assert np.abs(came - expected).max() <= {"int8": 0.02, "fp8": 0.2}[name] * np.abs(expected).max()
