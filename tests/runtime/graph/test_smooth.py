from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.runtime.graph.emulate import model_session
from ovdeploy.runtime.graph.observe import Observer
from ovdeploy.runtime.graph.products import products, split_gemms
from ovdeploy.runtime.graph.qdq import FORMATS, quantise
from ovdeploy.runtime.graph.smooth import factors, sites, smoothed, value_sites
from support.blocks import feeds, mlp
from support.graphs import contract_of, graph

f32 = np.float32


def run(model, given):
    # unfused: x86 CPUs without VNNI saturate sums of 8-bit products, and small matrices are full of largest steps
    with model_session(model, contract_of(model), in_order=True) as session:
        return session.run_unchecked(given)["y"]


def balanced(strength, outlier=30.0):
    model = split_gemms(mlp(outlier))
    found = sites(model, products(model))
    with Observer(model, contract_of(model), [site.products[0].value for site in found]) as observer:
        seen = observer.observe(feeds())
    return smoothed(model, {s: factors(s, model, seen[s.products[0].value].largest, strength) for s in found})


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.9])
def test_balancing_changes_no_value(strength):
    expected = run(mlp(), feeds())
    # float32: every product is divided and multiplied once more; values up to 100
    np.testing.assert_allclose(run(balanced(strength), feeds()), expected, rtol=1e-4, atol=2e-4)


def test_balancing_helps_int8_where_there_are_outliers():
    expected = run(mlp(200.0), feeds())

    def error(model):
        chosen = products(model)
        with Observer(model, contract_of(model), [p.value for p in chosen]) as observer:
            seen = observer.observe(feeds())
        came = run(
            quantise(model, chosen, {v: float(o.largest.max()) for v, o in seen.items()}, FORMATS["int8"]), feeds()
        )
        return np.linalg.norm(came - expected) / np.linalg.norm(expected)

    assert error(balanced(0.5, 200.0)) < 0.5 * error(split_gemms(mlp(200.0)))


def test_sites_are_norms_that_products_alone_read():
    model = split_gemms(mlp())
    assert [(site.norm, [p.node for p in site.products]) for site in sites(model, products(model))] == [
        ("LayerNormalization_n", ["Gemm_h"]),
        ("LayerNormalization_p", ["MatMul_q"]),
    ]
    assert sites(model, products(model)[:1])[0].norm == "LayerNormalization_n", "products that stay float are none"


SHARED = "(float[2, 6, 8] x) => (float[2, 6, 8] y)"


@pytest.mark.parametrize(
    "body",
    [
        "n = LayerNormalization(x, g) q = MatMul(n, w) y = Add(q, n)",  # the norm's result is added too
        "n = LayerNormalization(x, g) t = Transpose<perm = [0, 2, 1]>(n) k = MatMul(t, m) y = MatMul(m, k)",
        "n = LayerNormalization(x, g) t = Slice(n, s, e, a, back) y = MatMul(t, w)",  # turns the channels round
        "n = LayerNormalization(x, g) p = MatMul(n, w) k = MatMul(x, w) y = Add(p, k)",  # the weight has another reader
        "h = Mul(g, g) n = LayerNormalization(x, h) y = MatMul(n, w)",  # the scale is computed
    ],
)
def test_what_cannot_be_balanced_exactly_is_left(body):
    weights = {
        "g": np.ones(8, f32), "w": np.ones((8, 8), f32), "m": np.ones((6, 8), f32), "s": np.array([-1]),
        "e": np.array([-9]), "a": np.array([2]), "back": np.array([-1]),
    }  # fmt: skip
    model = graph(SHARED, body, **{name: array for name, array in weights.items() if name in body})
    assert sites(model, products(model)) == []


def value_balanced(model, given, strength):
    """A model with every value balanced that no norm can balance."""
    found = value_sites(model, products(model), sites(model, products(model)))
    with Observer(model, contract_of(model), [site.name for site in found]) as observer:
        seen = observer.observe(given)
    return found, smoothed(model, {site: factors(site, model, seen[site.name].largest, strength) for site in found})


@pytest.mark.parametrize("strength", [0.5, 0.9])
def test_values_behind_no_norm_are_balanced_by_a_multiplication(strength):
    found, model = value_balanced(split_gemms(mlp()), feeds(), strength)
    assert [(site.norm, site.name, [p.node for p in site.products]) for site in found] == [("", "a", ["MatMul_k"])]
    assert [node.name for node in model.graph.node if node.op_type == "Mul"] == ["a_balanced"]
    assert products(model) == products(split_gemms(mlp())), "names and order are what they were"
    np.testing.assert_allclose(run(model, feeds()), run(mlp(), feeds()), rtol=1e-4, atol=2e-4)  # as above


def test_other_readers_of_a_balanced_value_read_the_old_one():
    weights = {"g": np.arange(1, 9, dtype=f32), "w": np.random.default_rng(0).standard_normal((8, 8)).astype(f32)}

    def fresh():
        return graph(SHARED, "n = LayerNormalization(x, g) q = MatMul(n, w) y = Add(q, n)", **weights)

    given = {"x": np.random.default_rng(1).standard_normal((2, 6, 8)).astype(f32)}
    found, model = value_balanced(fresh(), given, 0.5)
    assert [site.name for site in found] == ["n"]
    assert list(model.graph.node[-1].input) == ["q", "n_unbalanced"]
    np.testing.assert_allclose(run(model, given), run(fresh(), given), rtol=1e-4, atol=1e-4)  # float32


@pytest.mark.parametrize("body", ["y = MatMul(x, w)", "t = Neg(x) k = MatMul(t, w) p = MatMul(k, w) y = Add(k, p)"])
def test_inputs_and_values_whose_weights_others_read_cannot_be_balanced(body):
    model = graph(SHARED, body, w=np.ones((8, 8), f32))
    assert value_sites(model, products(model), []) == []


def test_dead_channels_keep_their_scale():
    model = split_gemms(mlp())
    site = sites(model, products(model))[0]
    largest = np.array([0, 1, 1, 50, 1, 1, 1, 1], f32)
    s = factors(site, model, largest, 0.5)
    assert s[0] == 1 and (s > 0).all() and s.argmax() == 3
