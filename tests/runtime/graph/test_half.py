from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from ovdeploy.runtime.errors import ExportError
from ovdeploy.runtime.graph.half import problem_weights, to_half
from ovdeploy.runtime.graph.model import HALF_TYPES, View, check_file, load_model, save_model
from ovdeploy.runtime.graph.shapes import value_types
from ovdeploy.runtime.graph.weights import weight_problem
from support.bundles import engine_file
from support.graphs import contract_of, graph

f32 = np.float32
MLP = "(float[N, 8] x) => (float[N, 4] y)"
LAYERS = "a = MatMul(x, w1) b = Relu(a) c = Add(b, bias) y = MatMul(c, w2)"


def mlp(**changes):
    rng = np.random.default_rng(0)
    weights = {"w1": rng.standard_normal((8, 16)), "bias": rng.standard_normal(16), "w2": rng.standard_normal((16, 4))}
    return graph(MLP, LAYERS, **{name: array.astype(f32) for name, array in (weights | changes).items()})


def kinds(model):
    return {name: onnx.TensorProto.DataType.Name(kind.dtype) for name, kind in value_types(model).items()}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_everything_is_half_but_the_inputs_and_outputs(precision, tmp_path):
    half = to_half(mlp(), precision)
    found = kinds(half)
    name = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}[precision]
    assert found["x"] == found["y"] == "FLOAT"
    assert {found[value] for value in ("a", "b", "c", f"w1_{precision}", f"bias_{precision}")} == {name}
    assert Counter(node.op_type for node in half.graph.node)["Cast"] == 2
    save_model(half, tmp_path / "half.onnx")
    check_file(tmp_path / "half.onnx", "mlp")


def test_islands_are_fp32_and_share_their_casts():
    model = graph("(float[N] x) => (float[N] y)", "a = Exp(x) b = Mul(a, a) c = Add(a, b) y = Sub(c, b)")
    half = to_half(model, "fp16", {"Mul_b"})
    found = kinds(half)
    assert found["b"] == "FLOAT" and found["a"] == found["c"] == "FLOAT16"
    assert [node.output[0] for node in half.graph.node if node.op_type == "Cast"] == [
        "x_to_fp16", "a_to_fp32", "b_to_fp16", "y"
    ]  # fmt: skip


def test_a_weight_read_by_both_is_there_twice():
    model = graph("(float[4] x) => (float[4] y)", "a = Mul(x, w) y = Add(a, w)", w=np.ones(4, f32))
    names = {tensor.name: tensor.data_type for tensor in to_half(model, "fp16", {"Add_y"}).graph.initializer}
    assert names == {"w": onnx.TensorProto.FLOAT, "w_fp16": onnx.TensorProto.FLOAT16}


def test_what_only_carries_between_islands_is_not_rounded():
    body = "a = Exp(x) b = Reshape(a, s) c = Transpose<perm=[1, 0]>(b) d = Log(c) y = Neg(d)"
    model = graph("(float[6] x) => (float[3, 2] y)", body, s=np.array([2, 3]))
    found = kinds(to_half(model, "fp16", {"Exp_a", "Log_d"}))
    assert {found[value] for value in "abcd"} == {"FLOAT"}
    found = kinds(to_half(model, "fp16", {"Exp_a"}))
    assert found["b"] == found["c"] == "FLOAT16", "rounded once, as early as it is cheap"


def test_operators_that_onnx_keeps_from_half_stay_fp32():
    """ONNX allows bfloat16 to Conv only from opset 22 on, and Range no half at all."""
    signature, body = "(float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y)", "a = Conv(x, w) y = Relu(a)"
    model = graph(signature, body, w=np.ones((1, 1, 1, 1), f32))
    assert kinds(to_half(model, "bf16"))["a"] == "FLOAT" and kinds(to_half(model, "fp16"))["a"] == "FLOAT16"
    steps = graph("(float x) => (float[N] y)", "a = Range(zero, x, one) y = Neg(a)", zero=f32(0), one=f32(1))
    assert kinds(to_half(steps, "fp16"))["a"] == "FLOAT"


def test_inputs_that_must_be_float_stay_float():
    """Resize's scales; and an exponent follows its base, though ONNX would not mind."""
    body = 'y = Resize<mode="linear">(x, , scales)'
    model = graph("(float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y)", body, scales=np.array([1, 1, 2, 2], f32))
    assert [t.name for t in to_half(model, "fp16").graph.initializer] == ["scales"]
    power = to_half(graph("(float[2] x) => (float[2] y)", "y = Pow(x, two)", two=f32(2)), "fp16")
    assert [t.name for t in power.graph.initializer] == ["two_fp16"]


def test_constants_and_casts_change_their_type():
    body = "a = Cast<to=1>(i) b = ConstantOfShape<value=float[1] {0.5}>(s) c = Add(a, b) y = Mul(c, x)"
    found = kinds(to_half(graph("(int64[2] i, float[2] x) => (float[2] y)", body, s=np.array([2])), "fp16"))
    assert found["a"] == found["b"] == found["c"] == "FLOAT16"


@pytest.mark.parametrize(
    ("w1", "told"),
    [
        (np.full((8, 16), 7e4, f32), "overflows"),
        (np.full((8, 16), 65520, f32), "overflows"),
        (np.full((8, 16), 1e-9, f32), "vanishes"),
        (np.full((8, 16), 1e-6, f32), "nearly vanishes"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(w1, told):
    model = mlp(w1=w1)
    with pytest.raises(ExportError, match=rf"w1 \(read by MatMul_a\) {told}.*--islands auto"):
        to_half(model, "fp16")
    assert list(problem_weights(model, "fp16")) == ["w1"]
    to_half(model, "fp16", {"MatMul_a"})
    to_half(model, "bf16")


@pytest.mark.parametrize(
    ("array", "fine"),
    [
        (np.zeros(4), True),
        (np.array([-np.inf, 0, 1]), True),  # a mask's own infinities
        (np.array([65504.0, 65519.0]), True),
        (np.array([3.4e38]), False),
        (np.array([1e-12]), False),  # an ε
        (np.r_[np.ones(999), 1e-9], True),  # one in a thousand may go
        (np.r_[np.ones(90), np.full(10, 1e-9)], False),
        (np.random.default_rng(0).normal(0, 0.02, 100_000), True),
        (np.random.default_rng(0).normal(0, 1e-7, 1000), False),
    ],
)
def test_weight_problem(array, fine):
    assert (weight_problem(array.astype(f32), "fp16") is None) == fine


def test_graphs_that_cannot_be_converted_say_why():
    model = mlp()
    with pytest.raises(ExportError, match="Did you mean 'fp16'"):
        to_half(model, "fp61")
    with pytest.raises(ExportError, match="1 nodes that the graph has not: Nobody"):
        to_half(model, "fp16", {"Nobody"})
    with pytest.raises(ExportError, match="already"):
        to_half(to_half(model, "fp16"), "fp16")
    branch = graph(
        "(bool c, float[1] x) => (float[1] y)",
        "y = If(c) <then_branch = t () => (float[1] p) { p = Neg(x) }, "
        "else_branch = e () => (float[1] q) { q = Abs(x) }>",
    )
    with pytest.raises(ExportError, match="If"):
        to_half(branch, "fp16")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("stage", ["text_encoder", "dino", "clip_image", "sam_encoder", "head", "sam_decoder"])
def test_real_stages_are_strongly_typed(micro_bundle, tmp_path, stage, precision):
    """Checker, strict inference, order, and every element-wise node's operands of one type."""
    from ovdeploy.runtime.graph.islands import STANDARD, island_nodes
    from ovdeploy.runtime.graph.lint import lint_model

    model = load_model(engine_file(micro_bundle, stage))
    half = to_half(model, precision, island_nodes(model, STANDARD))
    path = tmp_path / "half.onnx"
    save_model(half, path)
    check_file(path, stage)
    assert lint_model(half, (11, 4)) == []
    assert [value.name for value in half.graph.output] == [value.name for value in model.graph.output]
    assert not any(kinds(half)[value.name] in map(str, HALF_TYPES) for value in half.graph.input)
    assert View(half).nodes.keys() >= View(model).nodes.keys(), "nodes keep their names"


def test_contracts_stay_what_they_were():
    model = mlp()
    assert contract_of(to_half(model, "fp16")) == contract_of(model)
