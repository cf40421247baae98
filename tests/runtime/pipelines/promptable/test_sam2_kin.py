"""Models with SAM 2's decoder: the photo fills the square, finer features, the single mask, everything mode."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamAutomaticMaskGenerator

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.reference.networks import Networks
from ovdeploy.export.reference.promptable.manners import SAM2
from ovdeploy.export.reference.promptable.predictor import predictor_of
from ovdeploy.export.reference.promptable.sam2_predictor import single_of
from ovdeploy.runtime import Bundle, Prompt, Prompter, RecipeError, load_recipe
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.bundle.consistency import check_sizes
from ovdeploy.runtime.errors import BundleError
from ovdeploy.runtime.geometry.bands import resize
from ovdeploy.runtime.geometry.dimensions import SamDimensions
from ovdeploy.runtime.geometry.sam_frame import sam_frame
from ovdeploy.runtime.pipelines.prompt_input import prompt_feeds
from ovdeploy.runtime.pipelines.promptable.sam_encoder import sam_image
from support.everything import UPSTREAM
from support.samples import draw_photo

SIZES = SamDimensions(sam_side=256, sam_grid=16, sam_stretch=True)
MAPS = {"sam_features": (1, 64, 16, 16), "high_res_0": (1, 8, 64, 64), "high_res_1": (1, 16, 32, 32)}


@pytest.fixture(scope="module")
def networks():
    return Networks.load(load_recipe("edgetam-micro"))


@pytest.fixture(scope="module")
def bundle(networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "edgetam"
    build_bundle(networks, path)
    return Bundle.load(path)


# The photo in the square


@pytest.mark.parametrize("hw", [(1, 1), (1, 4000), (150, 203), (300, 200), (700, 900)])
def test_the_photo_is_resized_as_pytorch_does_it_without_rounding(hw):
    photo = np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)
    came = sam_image(photo, sam_frame(hw, SIZES, multiple=1), SIZES)
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    expected = F.interpolate(planes, (256, 256), mode="bilinear", align_corners=False, antialias=True)
    np.testing.assert_allclose(came, expected.numpy(), atol=2e-3)  # of 255: weights of up to 16 pixels, in float32
    assert came.dtype == np.float32


@pytest.mark.parametrize("hw", [(97, 512), (211, 64), (1, 900)])
def test_prompts_and_masks_span_the_square(hw):
    frame = sam_frame(hw, SIZES, multiple=1)
    corners = Prompt([[0, 0], [hw[1], hw[0]]], box=[0, 0, hw[1] / 2, hw[0]])
    (points,) = prompt_feeds([corners], hw, frame)["points"]
    assert points.tolist() == [[0, 0], [256, 256], [0, 0], [128, 256]]
    assert frame.tokens_hw == (16, 16) and frame.valid_hw == frame.image_hw == (256, 256)
    logits = np.random.default_rng(0).standard_normal((1, 64, 64)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(logits)[None], hw, mode="bilinear", align_corners=False)[0]
    # a place among 64 is known to 2⁻¹⁸ in float32, and neighbours differ by up to 6
    np.testing.assert_allclose(resize(frame.mask_rows, frame.mask_columns, logits), expected.numpy(), atol=1e-4)


def test_a_recipe_that_would_scale_prompts_as_published_is_refused():
    given = {**msgspec.to_builtins(load_recipe("micro")), "sam": {"model": "micro_edgetam", "weights": "random:3"}}
    tables = {role: given["models"][role] for role in ("clip", "dino")}
    kept = {"name": "x", "method": "s2clip", "sam": given["sam"], **tables}
    parameters = {name: value for name, value in given["parameters"].items() if name != "as_published"}
    assert not recipe_of(kept, parameters).parameters.as_published, "it follows from the model"
    with pytest.raises(RecipeError, match=r"as_published scales prompts .*micro_edgetam.*as_published=false"):
        recipe_of(kept, {**parameters, "as_published": True})


def recipe_of(tables, parameters):
    from ovdeploy.runtime.recipe.recipe import recipe_from

    return recipe_from({**tables, "parameters": parameters}, "x")


# Features


def test_a_photo_has_three_tensors_of_features_and_decoders_get_them_all(bundle):
    asked = []

    def decode(feeds):
        asked.append(feeds)
        count = len(feeds["points"])
        return {"low_res_logits": np.full((count, 4, 64, 64), 99, np.float32), "iou": np.ones((count, 4), np.float32)}

    with Prompter.load(bundle.path, backend="onnxruntime") as prompter:
        decoder = FakeSession(bundle.manifest.stages["sam_prompt_decoder"].contract, decode)
        encoded = Prompter(bundle.manifest.dimensions, prompter._encoder, decoder).encode(draw_photo((90, 120)))
    answer = encoded.predict([[3, 4]])
    assert {name: array.shape for name, array in encoded.feature_maps.items()} == MAPS
    for name in MAPS:
        np.testing.assert_array_equal(asked[0][name], encoded.feature_maps[name])
    assert encoded.features is encoded.feature_maps["sam_features"]
    assert answer.masks.all() and (answer.low_res_logits == 32).all(), "told within ± 32, as SAM2ImagePredictor does it"


@pytest.mark.parametrize(("name", "size"), [("high_res_0", 48), ("high_res_1", 16)])
def test_sizes_that_contradict_the_finer_features_are_refused(bundle, name, size):
    contract = bundle.manifest.stages["sam_encoder"].contract
    outputs = tuple(
        msgspec.structs.replace(spec, shape=(*spec.shape[:2], size, size)) if spec.name == name else spec
        for spec in contract.outputs
    )
    wrong = {"sam_encoder": msgspec.structs.replace(contract, outputs=outputs)}
    with pytest.raises(BundleError, match=rf"sam_grid, axis 2 of {name} \(sam_encoder\)"):
        check_sizes("x", bundle.recipe, bundle.manifest.dimensions, wrong)


# The single mask


@torch.no_grad()
def test_a_single_mask_that_is_not_stable_gives_way_to_the_best_of_the_three():
    """As written for engines, against a loop: stable, at the threshold, below, empty, full, with equal estimates."""
    generator = torch.Generator().manual_seed(0)
    masks, iou = torch.randn(7, 4, 16, 16, generator=generator), torch.rand(7, 4, generator=generator)
    masks[0, 0] = torch.where(masks[0, 0] > 0, 5.0, -5.0)
    for row, inner in ((1, 49), (2, 48)):  # of 50: 0.98 and 0.96
        masks[row, 0] = -9.0
        masks[row, 0].view(-1)[:50] = 0.0
        masks[row, 0].view(-1)[:inner] = 9.0
    masks[3, 0], masks[4, 0] = -9.0, 9.0
    iou[5, 1:] = 0.5

    class Answers:
        @staticmethod
        def answer(*given):
            return masks, iou, None

    came = SAM2.ask(Answers(), (), None, None, None)
    expected = single_of(masks, iou)
    torch.testing.assert_close(came[0][:, :1], expected[0], rtol=0, atol=0)
    torch.testing.assert_close(came[1][:, :1], expected[1], rtol=0, atol=0)
    torch.testing.assert_close(came[0][:, 1:], masks[:, 1:], rtol=0, atol=0)
    stable = [bool((expected[0][row, 0] == masks[row, 0]).all()) for row in range(7)]
    assert stable == [True, True, False, True, True, False, False]
    assert (expected[0][5, 0] == masks[5, 1]).all(), "the first of equals"


@torch.no_grad()
def test_the_object_score_is_the_decoders_first_token(networks):
    """No answer for an image tells it, and a video will ask for it."""
    predictor = predictor_of(networks.models["sam"])
    predictor.set_image(draw_photo((90, 120)))
    sam, maps = networks.models["sam"], list(predictor.maps.values())
    sparse, dense = sam.prompt_encoder(
        points=(torch.tensor([[[9.0, 9.0]]] * 2), torch.tensor([[1], [0]])), boxes=None, masks=None
    )
    _, _, scores = sam.mask_decoder.answer(maps, sam.prompt_encoder.get_dense_pe(), sparse, dense)
    assert scores.shape == (2, 1) and scores[0] != scores[1]


# Everything mode


@pytest.mark.parametrize("parameters", [{"points_per_side": 6}, {"points_per_side": 4, "crop_layers": 1}])
def test_everything_is_what_the_reference_finds_with_sam2s_predictor(networks, bundle, parameters):
    """SAM 2's generator differs from SAM's in its predictor and in defaults that are set here."""
    photo = draw_photo((96, 120), 3)
    lenient = {"iou_threshold": 0.0, "stability_threshold": 0.2, "stability_offset": 0.02}
    apart = {"box_threshold": 1.0, "crop_box_threshold": 1.0}  # random weights see the same box nearly everywhere
    chosen = {**lenient, **apart, **parameters}
    generator = SamAutomaticMaskGenerator(networks.models["sam"], **{UPSTREAM[k]: v for k, v in chosen.items()})
    generator.predictor = predictor_of(networks.models["sam"])
    theirs = generator.generate(photo)
    with Prompter.load(bundle.path, backend="onnxruntime", threads=1) as prompter:
        ours = prompter.everything(photo, parameters=chosen).instances
    assert len(ours) == len(theirs) >= 5
    for a, b in zip(ours, theirs, strict=True):
        x, y, width, height = b["bbox"]
        assert a.box_xyxy == (x, y, x + width, y + height)
        assert (a.mask.decode() == b["segmentation"]).mean() >= 0.999  # logits of random weights are near 0 everywhere
        assert a.stability == pytest.approx(b["stability_score"], abs=1e-3)
        assert a.iou == pytest.approx(b["predicted_iou"], abs=1e-4)  # float32 sums in another order
