"""What can stand in DINO's place, against upstream's own forward, on small models of the same classes."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F

from ovdeploy.export.models.dino import EXTRACTORS
from ovdeploy.export.models.families import build_model
from ovdeploy.export.reference.training_free.dino import Dino
from ovdeploy.runtime.errors import RecipeError
from support.extractors import MODELS, SMALL, perturbed, rotary, vit

ROUNDING = {"rtol": 1e-4, "atol": 1e-5}  # float32, another order of summation


@pytest.fixture(autouse=True)
def _seeded_and_without_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def normalised(windows):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (windows - mean.view(3, 1, 1)) / std.view(3, 1, 1)


@pytest.mark.parametrize("kind", MODELS)
def test_tokens_are_timms_at_its_own_size(kind):
    model = perturbed(MODELS[kind]())
    side = model.patch_embed.img_size[0]
    windows = torch.rand(2, 3, side, side)
    expected = model.forward_features(normalised(windows))[:, model.num_prefix_tokens :]
    torch.testing.assert_close(Dino(model, side).tokens(windows), expected, **ROUNDING)


@pytest.mark.parametrize("kind", MODELS)
def test_other_crops_give_their_own_grid(kind):
    model = perturbed(MODELS[kind]())
    patch = model.patch_embed.patch_size[0]
    module = Dino(model, 3 * patch)
    features, mean = module(torch.rand(2, 3, 3 * patch, 3 * patch))
    assert features.shape == (2, module.width, 3, 3) and module.grid == (3, 3)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, 3, 3))
    tokens = features.flatten(2)
    torch.testing.assert_close(mean, (tokens.transpose(1, 2) @ tokens).mean(dim=(1, 2)), **ROUNDING)


def test_rotary_positions_follow_the_crop():
    """timm's own answer where it is told the other size."""
    model = rotary()
    other = timm.create_model("vit_small_patch16_dinov3", pretrained=False, img_size=96, **SMALL).eval()
    other.load_state_dict(model.state_dict())
    windows = torch.rand(1, 3, 96, 96)
    expected = other.forward_features(normalised(windows))[:, other.num_prefix_tokens :]
    torch.testing.assert_close(Dino(model.eval(), 96).tokens(windows), expected, **ROUNDING)


def test_sam_sees_the_window_at_its_own_size(micro_networks):
    sam = micro_networks.models["sam"]
    module = Dino(sam, 96)
    windows = torch.rand(1, 3, 96, 96)
    image = F.interpolate(windows, (512, 512), mode="bilinear", align_corners=False) * 255
    expected = sam.image_encoder((image - sam.pixel_mean) / sam.pixel_std).flatten(2).transpose(1, 2)
    assert (module.grid, module.width) == ((32, 32), 64)
    torch.testing.assert_close(module.tokens(windows), expected, **ROUNDING)


def test_a_crop_that_the_patch_does_not_divide_is_refused():
    with pytest.raises(RecipeError, match=r"crop=100 .* 14"):
        Dino(vit(), 100)


@pytest.mark.parametrize("name", [name for name in EXTRACTORS if "small" in name])
def test_the_listed_models_exist(name):
    module = Dino(build_model("dino", name, depth=1), 336)
    patch = 336 // module.grid[0]
    assert module.grid == (336 // patch, 336 // patch) and module.width == 384
