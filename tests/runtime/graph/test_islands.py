from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.runtime.errors import RecipeError
from ovdeploy.runtime.graph.islands import (
    CLASSES,
    IslandRecipe,
    StageIslands,
    island_nodes,
    node_blocks,
    read_islands,
    write_islands,
)
from ovdeploy.runtime.graph.model import View, load_model
from support.bundles import engine_file
from support.graphs import graph

f32 = np.float32
ROW = "(float[N, 8] x) => (float[N, 8] y)"

CASES = {
    "layer_norm": (
        "m = ReduceMean(x, last) c = Sub(x, m) s = Mul(c, c) v = ReduceMean(s, last) e = Add(v, eps) r = Sqrt(e) "
        "d = Div(c, r) g = Mul(d, gain) b = Add(g, gain) y = Neg(b)",
        {"ReduceMean_m", "Sub_c", "Mul_s", "ReduceMean_v", "Add_e", "Sqrt_r", "Div_d", "Mul_g", "Add_b"},
    ),
    "l2_norm": (
        "n = ReduceL2(x, last) k = Clip(n, eps) w = Expand(k, size) d = Div(x, w) y = Neg(d)",
        {"ReduceL2_n", "Clip_k", "Div_d"},
    ),
    "guard": (
        "n = ReduceSum(x, last) k = Add(n, eps) w = Expand(k, size) z = Div(x, k) d = Add(z, w) y = Neg(d)",
        {"ReduceSum_n", "Add_k", "Div_z"},
    ),
    "softmax": ("a = Exp(x) s = ReduceSum(a, last) d = Div(a, s) y = Neg(d)", {"Exp_a", "ReduceSum_s", "Div_d"}),
    "exponential": ("a = Exp(eps) b = Mul(x, a) y = Neg(b)", {"Exp_a", "Mul_b"}),
    "relative_position": (
        "t = Transpose(x) q = MatMul(x, t) p = MatMul(x, rel) u = Add(q, p) w = Add(u, q) "
        "z = Softmax(w) n = Softmax(masked) masked = Add(q, mask) y = MatMul(z, x)",
        {"Add_u", "Add_w"},
    ),
    "position_encoding": ("a = Mul(x, eps) b = Sin(a) c = Neg(x) y = Add(b, c)", {"Mul_a", "Sin_b"}),
    "threshold": (
        "t = Transpose(x) q = MatMul(x, t) k = Mul(q, eps) g = Greater(k, eps) z = Where(g, q, eps) y = MatMul(z, x)",
        {"MatMul_q", "Mul_k", "Greater_g"},
    ),
    "choice": (
        "m = MatMul(x, rel) k = Exp(m) g = Neg(x) a = ArgMax(g) n = Reshape(m, one) i = ArgMin(n) c = Cast<to=1>(i) "
        "d = Mul(k, c) b = Cast<to=1>(a) y = Add(d, b)",
        {"MatMul_m", "Neg_g", "ArgMax_a", "Reshape_n", "ArgMin_i"},
    ),
    "output": ("a = Neg(x) b = Relu(a) y = Transpose<perm=[0, 1]>(b)", {"Relu_b"}),
}


@pytest.mark.parametrize("name", CASES)
def test_classes_are_found_by_structure(name):
    body, expected = CASES[name]
    if name == "relative_position":
        body = body.replace("n = Softmax(masked) masked = Add(q, mask)", "masked = Add(q, mask) n = Softmax(masked)")
    model = graph(
        ROW, body, last=np.array([-1]), eps=f32(1e-6), gain=np.ones(8, f32), size=np.array([1, 8]),
        rel=np.ones((8, 1), f32), mask=np.zeros((1, 1), f32), one=np.array([-1]),
    )  # fmt: skip
    assert CLASSES[name](View(model)) == expected


def test_every_class_has_a_case():
    assert CASES.keys() == CLASSES.keys()


def test_the_real_stages_have_the_classes_that_they_should(micro_bundle):
    found = {
        stage: {name for name, find in CLASSES.items() if find(View(load_model(engine_file(micro_bundle, stage))))}
        for stage in ("text_encoder", "dino", "clip_image", "sam_encoder", "head", "sam_decoder")
    }
    norms = {"layer_norm", "l2_norm", "guard"}
    assert found["sam_encoder"] == {*norms, "softmax", "relative_position", "threshold", "output"}
    assert found["clip_image"] == {"layer_norm", "softmax", "threshold", "output"}
    assert found["dino"] == found["head"] | {"softmax"} == {*norms, "softmax", "output"}
    assert found["sam_decoder"] == {"layer_norm", "softmax", "position_encoding", "output"}
    assert found["text_encoder"] == {"layer_norm", "softmax", "choice"}, "its last product has weights"


def test_blocks_follow_the_weights_names(micro_bundle):
    blocks = node_blocks(load_model(engine_file(micro_bundle, "sam_encoder")))
    assert {f"encoder.blocks.{i}" for i in range(4)} < set(blocks.values())
    model = load_model(engine_file(micro_bundle, "dino"))
    chosen = island_nodes(model, StageIslands(blocks=("extractor.vit.blocks.1",)))
    assert len(chosen) > 20 and all(node_blocks(model)[name] == "extractor.vit.blocks.1" for name in chosen)


def test_recipes_of_islands_are_read_as_they_were_written(tmp_path):
    recipe = IslandRecipe(
        precision="bf16",
        stages={"dino": StageIslands(classes=("softmax",), nodes=("a", "b")), "head": StageIslands(blocks=("x.0",))},
    )
    write_islands(tmp_path / "islands.toml", recipe)
    assert read_islands(tmp_path / "islands.toml") == recipe
    assert recipe.of("clip_image") == StageIslands()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("precision = 3", "precision"),
        ("[stages.dino]\nclasses = ['softmaxx']", "Did you mean 'softmax'"),
        ("[stages.dino]\nlayers = []", "layers"),
        ("this is not", "is not a TOML file"),
    ],
)
def test_files_that_are_no_recipe_are_refused(tmp_path, text, told):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(RecipeError, match=told):
        read_islands(tmp_path / "x.toml")
    with pytest.raises(RecipeError, match="missing"):
        read_islands(tmp_path / "missing.toml")


def test_islands_of_another_graph_are_refused():
    model = graph(ROW, "a = Neg(x) y = Neg(a)")
    with pytest.raises(RecipeError, match=r"Did you mean 'Neg_a'.*Find the islands again"):
        island_nodes(model, StageIslands(nodes=("Neg_aa",)))
    with pytest.raises(RecipeError, match="block in the islands"):
        island_nodes(model, StageIslands(blocks=("encoder.blocks.3",)))
