from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.runtime.errors import ExportError
from ovdeploy.runtime.graph.emulate import model_session
from ovdeploy.runtime.graph.islands import StageIslands, island_nodes
from ovdeploy.runtime.graph.search import NOWHERE, Agreement, Case, IslandSearch, Limits, agreement
from ovdeploy.runtime.graph.taps import computed_values, steps, watch
from support.graphs import contract_of, graph

f32 = np.float32
LIMITS = Limits(0.999, 0.045)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 16)).astype(f32)
SIGNATURE = "(float[N, 16] x) => (float[N, 16] y)"


def matrix(scale=1.0):
    return (scale * RNG.standard_normal((16, 16)) / 4).astype(f32)


def search(model, limits=LIMITS, expected=None, precision="fp16", **feeds):
    feeds = feeds or {"x": X}
    with model_session(model, contract_of(model)) as session:
        case = Case(feeds, expected or session.run_unchecked(feeds))
    return IslandSearch(model, contract_of(model), [case], precision, limits)


def test_half_everywhere_is_enough_where_nothing_goes_wrong():
    model = graph(SIGNATURE, "a = MatMul(x, w) b = Relu(a) y = MatMul(b, v)", w=matrix(), v=matrix())
    islands, found = search(model).find()
    assert islands == StageIslands() and found.cosine > 0.99999


def test_a_scaled_weight_before_a_layer_norm_is_found():
    """The norm hides the overflow from everybody who looks at the output's scale; half gives NaN."""
    body = "a = MatMul(x, w) b = LayerNormalization(a, g) y = MatMul(b, v)"
    model = graph(SIGNATURE, body, w=matrix(5e4), g=np.ones(16, f32), v=matrix())
    asked = search(model)
    assert asked.measure(StageIslands()) == NOWHERE
    islands, found = asked.find()
    assert {"MatMul_a", "LayerNormalization_b"} <= island_nodes(model, islands)
    assert "MatMul_y" not in island_nodes(model, islands)
    assert found.within(LIMITS)


def test_an_overflow_between_two_element_wise_nodes_is_found():
    """ONNX Runtime's CPU provider would not show it."""
    body = "a = Mul(x, k) b = Mul(a, k) c = Div(b, k) d = Div(c, k) y = MatMul(d, w)"
    model = graph(SIGNATURE, body, k=f32(300), w=matrix())
    islands, found = search(model).find()
    assert island_nodes(model, islands) == {"Mul_b", "Div_c"}
    assert found.within(LIMITS)


def test_an_overflow_is_followed_through_what_moves_it():
    body = "a = Mul(x, k) b = Reshape(a, s) c = Concat<axis=0>(b, b) d = Div(c, k) y = Slice(d, zero, end)"
    model = graph(SIGNATURE, body, k=f32(6e4), s=np.array([-1, 16]), zero=np.array([0]), end=np.array([5]))
    islands, found = search(model).find()
    assert {"Mul_a", "Concat_c", "Div_d"} <= island_nodes(model, islands) and found.within(LIMITS)


def test_an_output_that_overflows_is_found():
    model = graph(SIGNATURE, "a = MatMul(x, w) y = Mul(a, k)", w=matrix(), k=f32(6e4))
    islands, found = search(model).find()
    assert island_nodes(model, islands) == {"Mul_y"} and found.within(LIMITS)


def test_a_weight_that_vanishes_is_found():
    model = graph(SIGNATURE, "a = Mul(x, e) b = Div(a, e) y = MatMul(b, w)", e=f32(1e-9), w=matrix())
    islands, found = search(model).find()
    assert {"Mul_a", "Div_b"} <= island_nodes(model, islands) and found.within(LIMITS)


def test_a_class_is_added_where_it_helps_and_only_there():
    """Waves of coordinates: 11 bits do not resolve a thousandth of 600 turns; the softmax is fine as it is."""
    body = "a = Mul(p, turn) b = Sin(a) c = Softmax(b) y = MatMul(b, w)"
    coordinates = np.linspace(0, 1000, 80, dtype=f32).reshape(5, 16)
    model = graph("(float[5, 16] p) => (float[5, 16] y)", body, turn=f32(3.7), w=matrix())
    islands, found = search(model, p=coordinates).find()
    assert islands.classes == ("position_encoding",) and found.within(LIMITS)


def test_single_nodes_are_added_where_no_class_fits():
    """A difference of nearly equal numbers, made large again: its makers go with it."""
    body = "a = Add(x, k) b = Sub(a, k) c = Relu(b) y = MatMul(c, w)"
    model = graph(SIGNATURE, body, k=f32(3000), w=matrix())
    islands, found = search(model).find()
    assert {"Add_a", "Sub_b"} <= island_nodes(model, islands) and found.within(LIMITS)
    assert not islands.blocks


def test_blocks_are_the_last_resort():
    body = "a = MatMul(x, w) b = Tanh(a) c = MatMul(b, v) d = Tanh(c) y = MatMul(d, u)"
    weights = {"w": matrix(), "v": matrix(), "u": matrix()}
    model = graph(SIGNATURE, body, **weights)
    for tensor, name in zip(
        model.graph.initializer, ("net.blocks.0.w", "net.blocks.1.v", "net.blocks.2.u"), strict=True
    ):
        for node in model.graph.node:
            node.input[:] = [name if value == tensor.name else value for value in node.input]
        tensor.name = name
    islands, found = search(model, Limits(1 - 1e-12, 1e-6)).find()
    assert set(islands.blocks) == {"net.blocks.0", "net.blocks.1", "net.blocks.2"}
    assert found.relative < 1e-6


def test_what_no_island_mends_is_refused():
    model = graph(SIGNATURE, "y = MatMul(x, w)", w=matrix())
    with pytest.raises(ExportError, match=r"head does not reach cosine 0\.999 in fp16 even with all blocks"):
        search(model, expected={"y": RNG.standard_normal((5, 16)).astype(f32)}).find()


def test_a_search_needs_a_case():
    model = graph(SIGNATURE, "y = Relu(x)")
    with pytest.raises(ExportError, match="needs a photo"):
        IslandSearch(model, contract_of(model), [], "fp16", LIMITS)


def test_bf16_needs_no_islands_for_range():
    model = graph(SIGNATURE, "a = Mul(x, k) b = Mul(a, k) c = Div(b, k) y = Div(c, k)", k=f32(300))
    islands, _ = search(model, precision="bf16").find()
    assert islands == StageIslands()


def test_agreement_is_of_the_worst_output():
    ones = np.ones(4)
    assert agreement({"a": ones, "b": ones * 2}, {"a": ones, "b": ones}) == Agreement(1.0, 1.0)
    assert agreement({"a": ones, "b": ones * np.nan}, {"a": ones, "b": ones}) == NOWHERE
    assert not Agreement(1.0, 0.1).within(LIMITS) and not Agreement(0.9, 0.0).within(LIMITS)


def test_taps_see_range_and_sample():
    model = graph("(float[N, 16] x) => (float[N, 16] y)", "a = Mul(x, k) b = Where(m, low, a) y = Relu(b)", k=f32(2),
                  m=np.arange(16) == 3, low=f32(-np.inf))  # fmt: skip
    assert computed_values(model) == ["a", "b", "y"]
    taps = watch(model, contract_of(model), {"x": X}, ["a", "b"])
    assert taps["a"].high == 2 * X.max() and taps["a"].low == 2 * X.min() and taps["a"].finite
    np.testing.assert_array_equal(taps["a"].sample, 2 * X.ravel())
    assert taps["b"].low == -np.inf and taps["b"].largest == taps["b"].high and not taps["b"].finite


@pytest.mark.parametrize("shape", [(1,), (4096,), (4097,), (12, 4096, 4096), (1, 1, 1), (3, 0, 5)])
def test_samples_are_small_and_not_empty(shape):
    counts = [-(-n // step) for n, step in zip(shape, steps(shape), strict=True)]
    assert np.prod(counts) <= 4096 and all(c >= 1 for c, n in zip(counts, shape, strict=True) if n)
