from __future__ import annotations

import numpy as np
import onnx
import pytest

from ovdeploy.runtime.graph.emulate import model_session
from ovdeploy.runtime.graph.model import check_file, save_model
from ovdeploy.runtime.graph.passes import improved
from support.graphs import contract_of, graph

f32 = np.float32
NORM = (
    "m = ReduceMean(x, axis) c = Sub(x, m) s = {square} v = ReduceMean(s, axis) e = Add({sum}) r = Sqrt(e) "
    "d = Div(c, r) g = Mul(d, gain) y = Add(g, shift)"
)


def run(model, **feeds):
    with model_session(model, contract_of(model)) as session:
        return session.run(feeds)["y"]


def same_values(make, tolerance, **feeds):
    """Both forms give the same; the improved one is returned."""
    after = improved(make())
    np.testing.assert_allclose(run(after, **feeds), run(make(), **feeds), rtol=tolerance, atol=tolerance)
    return after


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -3])
@pytest.mark.parametrize(("square", "total"), [("Pow(c, two)", "v, eps"), ("Mul(c, c)", "eps, v")])
def test_norms_that_are_written_out_become_layer_norms(axis, square, total):
    """Over channels (SAM's LayerNorm2d), over the height (as published), over the last axis."""
    x = np.random.default_rng(0).normal(3, 5, (2, 4, 6, 8)).astype(f32)
    channel = np.linspace(0.5, 2, 4, dtype=f32)[:, None, None]
    model = same_values(
        lambda: graph(
            "(float[N, 4, 6, 8] x) => (float[N, 4, 6, 8] y)", NORM.format(square=square, sum=total),
            axis=np.array([axis]), eps=f32(1e-6), two=f32(2), gain=channel, shift=channel,
        ), 3e-6, x=x,
    )  # fmt: skip
    moved = [] if axis % 4 == 3 else ["Transpose"]
    assert kinds(model) == [*moved, "LayerNormalization", *moved, "Mul", "Add"]
    assert {t.name for t in model.graph.initializer} == {"gain", "shift", "d_ones"}


@pytest.mark.parametrize(
    "body",
    [
        NORM.replace("ReduceMean(s, axis)", "ReduceMean(s, other)"),  # two axes
        NORM.replace("Sub(x, m)", "Sub(m, x)"),
        NORM.replace("{square}", "Pow(c, three)"),
        NORM.replace("Sqrt(e)", "Exp(e)"),
    ],
)
def test_what_only_looks_like_a_norm_is_left_alone(body):
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y)", body.format(square="Pow(c, two)", sum="v, eps"), axis=np.array([1]),
        other=np.array([0]), eps=f32(1), two=f32(2), three=f32(3), gain=f32(1), shift=f32(0),
    )  # fmt: skip
    assert "LayerNormalization" not in kinds(improved(model))


def test_a_mean_that_others_read_stays():
    body = NORM.format(square="Mul(c, c)", sum="v, eps").replace("y = Add(g, shift)", "y = Add(g, m)")
    x = np.random.default_rng(0).normal(3, 5, (3, 4)).astype(f32)
    model = same_values(
        lambda: graph("(float[N, 4] x) => (float[N, 4] y)", body, axis=np.array([1]), eps=f32(1), gain=f32(2)),
        3e-6, x=x,
    )  # fmt: skip
    assert kinds(model) == ["ReduceMean", "LayerNormalization", "Mul", "Add"]


@pytest.mark.parametrize(("scaling", "factor"), [("Div(q, k)", 8.0), ("Mul(q, k)", 0.125), ("Mul(k, q)", 0.125)])
def test_scores_are_scaled_before_their_product(scaling, factor):
    body = f"t = Transpose(x) q = MatMul(x, t) s = {scaling} z = Softmax(s) y = MatMul(z, x)"
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(f32)
    model = same_values(lambda: graph("(float[5, 8] x) => (float[5, 8] y)", body, k=f32(factor)), 1e-6, x=x)
    assert kinds(model) == ["Transpose", "Mul", "MatMul", "Softmax", "MatMul"]


def test_scores_that_others_read_unscaled_stay():
    body = (
        "t = Transpose(x) q = MatMul(x, t) s = Div(q, k) z = Softmax(s) p = MatMul(z, x) u = MatMul(q, x) y = Add(p, u)"
    )
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(f32)
    model = same_values(lambda: graph("(float[5, 8] x) => (float[5, 8] y)", body, k=f32(8)), 1e-6, x=x)
    assert "Div" in kinds(model)


def test_token_ids_stay_int32_where_they_may():
    signature = "(int32[N, 5] x) => (float[N, 4] y)"
    body = (
        "i = Cast<to=7>(x) e = Gather(table, i) m = ReduceSum(e, one) a = ArgMax<axis=1>(i) f = Cast<to=1>(a) "
        "s = Squeeze(m, one) y = Add(s, f)"
    )
    table = np.random.default_rng(0).standard_normal((9, 4)).astype(f32)
    ids = np.array([[3, 8, 1, 0, 2]], np.int32)

    def make():
        return graph(signature, body,
                     table=table, one=np.array([1]))  # fmt: skip

    model = same_values(make, 0, x=ids)
    assert kinds(model).count("Cast") == 1, "of the position, which has to be a float"
    needed = graph("(int32[N] x) => (int64[N] y)", "a = Cast<to=7>(x) y = Mul(a, a)")
    assert kinds(improved(needed)) == ["Cast", "Mul"], "its result would be INT32"


def test_what_the_passes_make_is_valid(tmp_path):
    body = NORM.format(square="Mul(c, c)", sum="v, eps")
    model = graph(
        "(float[1, 4, 6, 8] x) => (float[1, 4, 6, 8] y)",
        body,
        axis=np.array([1]),
        eps=f32(1e-6),
        gain=f32(1),
        shift=f32(0),
    )
    path = tmp_path / "after.onnx"
    save_model(improved(model), path)
    check_file(path, "after")
    norm = next(node for node in onnx.load(path).graph.node if node.op_type == "LayerNormalization")
    assert onnx.helper.get_node_attr_value(norm, "epsilon") == pytest.approx(1e-6)
