"""The small promptable models: their names, their norms and their features are those of their authors."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.promptable.efficientvit import Cubic, LinearAttention
from ovdeploy.export.models.promptable.tiny_vit import WindowAttention, distances
from ovdeploy.export.models.sam import BUILDS
from ovdeploy.export.models.weights import load_model, random_state
from ovdeploy.export.reference.promptable.predictor import predictor_of
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.pipelines.promptable.models import MODELS
from ovdeploy.runtime.recipe.recipe import ModelChoice
from support.samples import draw_photo
from support.upstream import FROZEN, PHOTO, SEED, frozen, sampled

NAMES = ("efficientvit_sam_l0", "efficientvit_sam_l1", "mobile_sam")
MICRO = ("micro_efficientvit_sam", "micro_mobile_sam")


def test_every_model_has_a_row_on_both_sides():
    assert set(BUILDS) == set(MODELS)
    assert tuple(sorted(path.stem for path in FROZEN.glob("*.json"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_the_published_checkpoint(name):
    with torch.device("meta"):
        own = {key: list(value.shape) for key, value in BUILDS[name].module().state_dict().items()}
    assert own == frozen(name)["tensors"]


@pytest.mark.parametrize("name", NAMES)
def test_every_norm_has_its_authors_epsilon(name):
    """A wrong one loads without a word."""
    eps = frozen(name)["eps"]
    with torch.device("meta"):
        modules = dict(BUILDS[name].module().named_modules())
    assert {key: module.eps for key, module in modules.items() if hasattr(module, "eps")} == eps
    assert set(eps.values()) == ({1e-6} if "efficientvit" in name else {1e-5, 1e-6})


@pytest.mark.parametrize("name", MICRO)
def test_the_smallest_has_the_norms_of_the_published(name):
    """The tests of engines are run on it."""

    def kinds(model):
        return {(type(m).__name__, m.eps) for m in model.modules() if hasattr(m, "eps")}

    published = {"micro_efficientvit_sam": "efficientvit_sam_l0", "micro_mobile_sam": "mobile_sam"}[name]
    with torch.device("meta"):
        assert kinds(BUILDS[name].module()) == kinds(BUILDS[published].module())


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_that_the_authors_code_computes(name):
    """On the same seeded weights; what their code made is frozen. The prompts: `tests/measure/upstream.py`."""
    model = build_model("sam", name)
    model.load_state_dict(random_state(model, SEED))
    predictor = predictor_of(model)
    predictor.set_image(draw_photo(PHOTO))
    np.testing.assert_allclose(sampled(predictor.features.numpy()), frozen(name)["features"], rtol=1e-4, atol=2e-5)


def test_a_checkpoint_as_published_loads_strictly(tmp_path):
    model = build_model("sam", "micro_mobile_sam")
    state = random_state(model, 5)
    torch.save(state, tmp_path / "mobile_sam.pt")
    torch.save({"state_dict": state}, tmp_path / "wrapped.pt")
    choice = ModelChoice(model="micro_mobile_sam")
    told = [load_model("sam", choice, str(tmp_path / name))[1] for name in ("mobile_sam.pt", "wrapped.pt")]
    assert told[0].sha256 == told[1].sha256 and told[0].licence == "Apache-2.0"
    del state["image_encoder.norm_head.bias"]
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(WeightsError, match=r"1 missing \(image_encoder\.norm_head\.bias \[64\]\)"):
        load_model("sam", choice, str(tmp_path / "less.pt"))


# Parts, against plain formulas


@torch.no_grad()
def test_linear_attention_is_attention_with_relu():
    torch.manual_seed(0)
    attention = LinearAttention(16, 8)
    x = torch.randn(1, 16, 5, 6)
    near = attention.qkv(x)
    both = torch.cat([near, attention.aggreg[0](near)], dim=1)[0].flatten(1)
    heads = []
    for q, k, v in (part.split(8) for part in both.split(24)):
        scores = q.relu().T @ k.relu()  # [to, from]
        heads.append(v @ (scores / (scores.sum(dim=1, keepdim=True) + 1e-15)).T)
    expected = attention.proj(torch.cat(heads).view(1, -1, 5, 6))
    torch.testing.assert_close(attention(x), expected)


@torch.no_grad()
@pytest.mark.parametrize(("grid", "side"), [(8, 4), (8, 8), (9, 4), (3, 7)])
def test_window_attention_is_that_of_each_window_alone(grid, side):
    """Zeros are put around before the norm, as the authors do it; then plain loops over windows and heads."""
    torch.manual_seed(0)
    attention = WindowAttention(12, 3, grid, side)
    for parameter in attention.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    tokens = torch.randn(1, grid * grid, 12)
    across = -(-grid // side) * side
    plane = nn.functional.pad(tokens.view(grid, grid, 12), (0, 0, 0, across - grid, 0, across - grid))
    made = torch.zeros(across, across, 12)
    for y in range(0, across, side):
        for x in range(0, across, side):
            window = plane[y : y + side, x : x + side].reshape(-1, 12)
            heads = []
            for head, three in enumerate(attention.qkv(attention.norm(window)).split(12, dim=1)):
                q, k, v = three.split(4, dim=1)
                scores = q @ k.T / 2 + attention.attention_biases[head][distances(side)]
                heads.append(scores.softmax(dim=1) @ v)
            made[y : y + side, x : x + side] = attention.proj(torch.cat(heads, dim=1)).view(side, side, 12)
    torch.testing.assert_close(attention(tokens)[0], made[:grid, :grid].flatten(0, 1))


@torch.no_grad()
def test_a_place_that_attends_to_nothing_gets_nothing(tmp_path):
    """The exporter drops an addition of 1e-15, and the engine would divide by zero."""
    attention = LinearAttention(16, 8).eval()
    attention.qkv.conv.weight.copy_(-attention.qkv.conv.weight.abs())
    x = torch.rand(1, 16, 4, 4)
    assert attention(x).isfinite().all()
    torch.onnx.export(attention, (x,), tmp_path / "a.onnx", dynamo=True, opset_version=20, verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    (made,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(made, attention(x).numpy(), atol=1e-5)


def test_distances_count_rows_and_columns_apart():
    table = distances(3)
    assert table[0].tolist() == list(range(9)) and table[4].tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]


def test_cubic_enlarging_is_pytorchs():
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.interpolate(x, (16, 16), mode="bicubic", align_corners=False)
    torch.testing.assert_close(Cubic(8, 16)(x), expected, rtol=1e-5, atol=1e-5)
