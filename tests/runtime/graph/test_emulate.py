from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.graph.emulate import emulated, model_session
from ovdeploy.runtime.graph.half import to_half
from ovdeploy.runtime.graph.model import save_model
from support.graphs import contract_of, graph

DTYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
f32 = np.float32


def emulate(model, precision="fp16", islands=(), **feeds):
    half = emulated(to_half(model, precision, islands))
    with model_session(half, contract_of(model)) as session:
        return session.run_unchecked(feeds)["y"]


def narrow(array, precision="fp16"):
    with np.errstate(over="ignore"):
        return np.asarray(array, f32).astype(DTYPES[precision]).astype(f32)


CHAIN = "(float[N] x, float[N] z) => (float[N] y)"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_is_numpys_half_arithmetic(operator, precision):
    """float32 has more than twice the bits of either half, so rounding twice is rounding once."""
    rng = np.random.default_rng(0)
    x, z = (narrow(rng.standard_normal(500) * 10.0 ** rng.integers(-3, 3, 500), precision) for _ in range(2))
    came = emulate(graph(CHAIN, f"y = {operator}(x, z)"), precision, x=x, z=z)
    half = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[operator]
    dtype = DTYPES[precision]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(came, half(x.astype(dtype), z.astype(dtype)).astype(f32))


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
@settings(max_examples=20, deadline=None)
def test_a_chain_of_products_is_rounded_at_every_step(pair):
    """((x · z) · z) + x in NumPy's float16, overflow included."""
    x, z = (np.array([value], f32) for value in pair)
    came = emulate(graph(CHAIN, "a = Mul(x, z) b = Mul(a, z) y = Add(b, x)"), x=x, z=z)
    h, k = x.astype(np.float16), z.astype(np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(came, (h * k * k + h).astype(f32))


@pytest.mark.parametrize(
    ("body", "x", "z", "expected"),
    [
        ("a = Mul(x, z) y = Div(a, z)", 300, 300, np.inf),  # 90 000 between two element-wise nodes
        ("a = Add(x, z) y = Sub(a, z)", 1, 2048, 0),  # 2049 is not a half number
        ("a = Mul(x, z) y = Div(a, z)", 1e-4, 1e-4, 0),  # 1e-8 vanishes
        ("y = Add(x, z)", 65504, 16, np.inf),  # the tie goes up
        ("y = Add(x, z)", 65504, 15, 65504),
    ],
)
def test_known_cases(body, x, z, expected):
    came = emulate(graph(CHAIN, body), x=np.array([x], f32), z=np.array([z], f32))
    np.testing.assert_array_equal(came, [expected])


def test_a_matrix_product_accumulates_in_fp32_and_rounds_once():
    rng = np.random.default_rng(1)
    x, w = (narrow(rng.standard_normal((5, 64))), narrow(rng.standard_normal((64, 7))))
    came = emulate(graph("(float[5, 64] x) => (float[5, 7] y)", "y = MatMul(x, w)", w=w), x=x)
    np.testing.assert_array_equal(came, narrow(x.astype(np.float64) @ w.astype(np.float64)))


def test_sums_of_integers_stop_at_eleven_bits():
    """4096 ones: the sum is exact in FP32, and a half number; 4097 is not, and becomes 4096."""
    ones = "(float[1, N] x) => (float[1, 1] y)"
    model = graph(ones, "y = ReduceSum(x, axes)", axes=np.array([1]))
    assert emulate(model, x=np.ones((1, 4096), f32)) == 4096
    assert emulate(model, x=np.ones((1, 4097), f32)) == 4096


def test_weights_are_rounded_too():
    w = np.array([1 + 2**-11 + 2**-20, 1 / 3], f32)
    came = emulate(graph("(float[2] x) => (float[2] y)", "y = Mul(x, w)", w=w), x=np.ones(2, f32))
    np.testing.assert_array_equal(came, narrow(w))


def test_islands_are_not_rounded():
    x = z = np.array([300], f32)
    model = graph(CHAIN, "a = Mul(x, z) y = Div(a, z)")
    assert emulate(model, islands={"Mul_a", "Div_y"}, x=x, z=z) == 300
    assert np.isinf(emulate(model, islands={"Mul_a"}, x=x, z=z)), "the island's result is rounded where it leaves"


def test_onnx_runtime_hides_what_the_emulation_shows(tmp_path):
    """The reason for all this: if it ever fails, ONNX Runtime's CPU provider has learnt half precision."""
    model = graph(CHAIN, "a = Mul(x, z) y = Div(a, z)")
    path = tmp_path / "half.onnx"
    save_model(to_half(model, "fp16"), path)
    feeds = {"x": np.array([300], f32), "z": np.array([300], f32)}
    with open_session(path, contract_of(model), "onnxruntime") as session:
        assert np.isfinite(session.run_unchecked(feeds)["y"]).all()
    assert np.isinf(emulate(model, **feeds)).all()
