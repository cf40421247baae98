"""The small promptable models: their names, their norms and their features are those of their authors."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from timm.layers import SqueezeExcite
from torch import nn

from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.promptable.efficientvit import Cubic, LinearAttention
from ovdeploy.export.models.promptable.hiera import BlockSizes, WindowedAttention
from ovdeploy.export.models.promptable.repvit import Squeeze
from ovdeploy.export.models.promptable.tiny_vit import WindowAttention, distances
from ovdeploy.export.models.sam import BUILDS
from ovdeploy.export.models.weights import load_model, random_state
from ovdeploy.export.reference.promptable.predictor import maps_of, predictor_of
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.pipelines.promptable.models import MODELS
from ovdeploy.runtime.pipelines.promptable.stages import FEATURES
from ovdeploy.runtime.recipe.recipe import ModelChoice
from support.samples import draw_photo
from support.upstream import FROZEN, PHOTO, SEED, frozen, sampled

SAM2 = ("edgetam", *(f"sam2.1_hiera_{size}" for size in ("base_plus", "large", "small", "tiny")))
"""Those whose checkpoints hold a memory for videos too."""

EPS = {
    "efficientvit_sam_l0": {1e-6},
    "efficientvit_sam_l1": {1e-6},
    "mobile_sam": {1e-5, 1e-6},
    **{name: {1e-5, 1e-6} for name in SAM2},
}
NAMES = tuple(sorted(EPS))
MICRO = {
    "micro_efficientvit_sam": "efficientvit_sam_l0",
    "micro_mobile_sam": "mobile_sam",
    "micro_edgetam": "edgetam",
    "micro_sam2": "sam2.1_hiera_tiny",
}
"""The smallest of each, and the published one that it stands for."""


def test_every_model_has_a_row_on_both_sides():
    assert set(BUILDS) == set(MODELS)
    assert tuple(sorted(path.stem for path in FROZEN.glob("*.json"))) == NAMES


@pytest.mark.parametrize("name", MODELS)
def test_both_sides_say_alike_whether_the_photo_is_stretched(name):
    """A recipe is judged by the one, prompts are scaled by the other."""
    with torch.device("meta"):
        assert getattr(BUILDS[name].module(), "stretch", False) == MODELS[name].stretches


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
    assert set(eps.values()) == EPS[name]


@pytest.mark.parametrize("name", MICRO)
def test_the_smallest_has_the_norms_of_the_published(name):
    """The tests of engines are run on it."""

    def kinds(model):
        return {(type(m).__name__, m.eps) for m in model.modules() if hasattr(m, "eps")}

    with torch.device("meta"):
        assert kinds(BUILDS[name].module()) == kinds(BUILDS[MICRO[name]].module())


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_that_the_authors_code_computes(name):
    """On the same seeded weights; what their code made is frozen. The prompts: `tests/measure/upstream.py`."""
    model = build_model("sam", name)
    model.load_state_dict(random_state(model, SEED))
    predictor = predictor_of(model)
    predictor.set_image(draw_photo(PHOTO))
    maps = maps_of(predictor)
    for made, taken in FEATURES.items():
        if made in frozen(name):
            np.testing.assert_allclose(sampled(maps[taken].numpy()), frozen(name)[made], rtol=1e-4, atol=2e-5)


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


@pytest.mark.parametrize("name", SAM2)
def test_the_table_names_all_of_a_checkpoint_that_is_for_videos_and_nothing_else(name):
    published, unused = frozen(name), BUILDS[name].unused
    assert published["memory"] and all(key.startswith(unused) for key in published["memory"])
    assert not any(key.startswith(unused) for key in published["tensors"])
    began = {first for first in unused for key in published["memory"] if key.startswith(first)}
    of_others = {"edgetam": {"obj_ptr_tpos_proj.", "no_obj_embed_spatial"}}.get(name, {"spatial_perceiver."})
    assert set(unused) - began == of_others, "each row is there for some checkpoint"


def test_a_checkpoint_with_a_memory_loads_and_one_with_something_unknown_does_not(tmp_path):
    model = build_model("sam", "micro_edgetam")
    state = random_state(model, 5)
    choice = ModelChoice(model="micro_edgetam")
    torch.save({"model": state}, tmp_path / "bare.pt")
    whole = state | {name: torch.ones(2) for name in frozen("edgetam")["memory"]}
    torch.save({"model": whole}, tmp_path / "edgetam.pt")
    digests = [load_model("sam", choice, str(tmp_path / name))[1].sha256 for name in ("bare.pt", "edgetam.pt")]
    assert digests[0] == digests[1], "the memory is no part of it"
    for more in ("memory_of_something", "image_encoder.trunk.more", "no_mem_embedding"):
        torch.save({"model": whole | {more: torch.ones(2)}}, tmp_path / "more.pt")
        with pytest.raises(WeightsError, match=rf"1 unexpected \({more} \[2\]\)"):
            load_model("sam", choice, str(tmp_path / "more.pt"))
    other = random_state(build_model("sam", "micro_mobile_sam"), 5)
    torch.save(other | {"memory_encoder.x": torch.ones(2)}, tmp_path / "sam.pt")
    with pytest.raises(WeightsError, match=r"1 unexpected \(memory_encoder\.x \[2\]\)"):
        load_model("sam", ModelChoice(model="micro_mobile_sam"), str(tmp_path / "sam.pt"))


# Parts, against plain formulas


@torch.no_grad()
@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize(("grid", "window"), [(8, 4), (8, 8), (8, 6), (16, 14)])
def test_windowed_attention_is_that_of_each_window_alone(grid, window, pools):
    """Zeros are put around, as the authors do it; then plain loops over windows and heads."""
    torch.manual_seed(0)
    attention = WindowedAttention(BlockSizes(12, 24, 3, grid, window, pools))
    tokens, step = torch.randn(1, grid * grid, 12), 1 + pools
    across = -(-grid // window) * window
    plane = nn.functional.pad(tokens.view(grid, grid, 12), (0, 0, 0, across - grid, 0, across - grid))
    made = torch.zeros(across // step, across // step, 24)
    for y in range(0, across, window):
        for x in range(0, across, window):
            three = attention.qkv(plane[y : y + window, x : x + window].reshape(-1, 12)).split(24, dim=1)
            asked = three[0].T.view(24, window, window)
            if pools:
                asked = nn.functional.max_pool2d(asked, 2)
            side, heads = window // step, []
            for q, k, v in zip(*(x.split(8, 1) for x in (asked.flatten(1).T, *three[1:])), strict=True):
                heads.append((q @ k.T / 8**0.5).softmax(dim=1) @ v)
            part = attention.proj(torch.cat(heads, dim=1)).view(side, side, 24)
            made[y // step : y // step + side, x // step : x // step + side] = part
    expected = made[: grid // step, : grid // step].flatten(0, 1)
    torch.testing.assert_close(attention(tokens)[0], expected)


@torch.no_grad()
def test_hieras_positions_are_pytorchs_enlarging_and_tiles():
    model = build_model("sam", "micro_sam2").image_encoder.trunk
    for parameter in (model.pos_embed, model.pos_embed_window):
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    enlarged = nn.functional.interpolate(model.pos_embed, (64, 64), mode="bicubic", align_corners=False)
    expected = enlarged + torch.cat([torch.cat([model.pos_embed_window] * 8, dim=2)] * 8, dim=3)
    torch.testing.assert_close(model.positions(64), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_squeeze_is_timms():
    """Widths that are no multiple of 32 are rounded."""
    for width in (8, 24, 48, 96, 192, 384):
        own, theirs = Squeeze(width), SqueezeExcite(width, 0.25)
        theirs.load_state_dict(own.state_dict())
        x = torch.randn(1, width, 5, 6)
        torch.testing.assert_close(own(x), theirs(x))


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
