from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.runtime.graph.emulate import model_session
from ovdeploy.runtime.graph.observe import Observer
from ovdeploy.runtime.graph.products import products, split_gemms
from ovdeploy.runtime.graph.qdq import FORMATS, quantise
from ovdeploy.runtime.graph.smooth import factors, sites, smoothed
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


def test_dead_channels_keep_their_scale():
    model = split_gemms(mlp())
    site = sites(model, products(model))[0]
    largest = np.array([0, 1, 1, 50, 1, 1, 1, 1], f32)
    s = factors(site, model, largest, 0.5)
    assert s[0] == 1 and (s > 0).all() and s.argmax() == 3
