"""Small promptable models in SAM's place: prompts, refinement and all tools work on them by what their rows say."""

from __future__ import annotations

import json
import shutil

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.cli.parity import parity
from ovdeploy.export.reference.networks import Networks
from ovdeploy.export.reference.training_free.pipeline import Reference
from ovdeploy.runtime import Bundle, Prompter, RecipeError, load_recipe
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.errors import ExportError
from ovdeploy.runtime.geometry.dimensions import SamDimensions
from ovdeploy.runtime.geometry.sam_frame import sam_frame
from ovdeploy.runtime.recipe.recipe import ModelChoice, recipe_from
from support.parity import run, scale_layer
from support.samples import draw_photo

RECIPES = {
    "micro_mobile_sam": "mobile-sam-micro",
    "micro_efficientvit_sam": "efficientvit-sam-micro",
    "micro_edgetam": "edgetam-micro",
    "micro_sam2": "sam2-micro",
}
BACKENDS = ("onnxruntime", "openvino")

CALIBRATED = {"micro_sam2": (0, "22 of 22")}
"""What `calibrate` comes to, and says: Hiera is a transformer, whose products with weights become INT8."""


@pytest.fixture(scope="module", params=RECIPES)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def small_networks(model):
    return Networks.load(load_recipe(RECIPES[model]))


@pytest.fixture(scope="module")
def small_bundle(small_networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "small"
    build_bundle(small_networks, path)
    return path


def refining(method, model, **parameters):
    """A training-free recipe at its smallest, with a small promptable model.

    Not as published: that divides the nearly constant columns of a mask prompt by √1e-6, and the rounding of its resize
    shows in masks that mean nothing (every stage agrees to 2e-6, the masks on 99.88 %).
    """
    micro = load_recipe("micro")
    models = micro.models | {"sam": ModelChoice(model=model, weights="random:3")}
    given = msgspec.to_builtins(micro)
    kept = {name: given[name] for name in ("name", "tolerances")}
    tables = {role: msgspec.to_builtins(choice) for role, choice in models.items()}
    parameters = {**given["parameters"], "as_published": False, **parameters}
    return recipe_from({**kept, **tables, "method": method, "parameters": parameters}, "x")


def checks(folder, *options):
    result = run(parity, folder, "--json", *options)
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"], result.stdout
    return report["checks"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_stages_and_every_kind_of_prompt_are_the_references(small_bundle, backend):
    pytest.importorskip(backend)
    made = checks(small_bundle, "--backend", backend)
    assert {check["stage"] for check in made} == {"sam_encoder", "sam_prompt_decoder", "prompt"}
    assert len([check for check in made if check["stage"] == "prompt"]) == 8
    assert all(check["measures"]["relative"] <= 1e-5 for check in made if check["stage"] != "prompt")  # float32


def test_parity_fails_where_the_encoder_is_wrong(small_bundle, tmp_path):
    folder = shutil.copytree(small_bundle, tmp_path / "b")
    scale_layer(folder, "sam_encoder", 0.5)
    assert run(parity, folder).exit_code == 1


def test_half_precision_is_proved_by_emulation(small_bundle, small_networks, tmp_path):
    folder = shutil.copytree(small_bundle, tmp_path / "half")
    build_bundle(small_networks, folder, conversion=HalfConversion(small_networks, "fp16"))
    made = checks(folder, "--precision", "fp16")
    assert all(check["passed"] for check in made)
    assert Bundle.load(folder).stage("sam_encoder").engines["fp16"].census.share("weights", "fp16") > 0.9
    photos = [draw_photo((96, 120), seed) for seed in range(6)]  # in some, EfficientViT's attention has sums of 0
    with Prompter.load(folder, backend="emulated", precision="fp16") as half, Prompter.load(folder) as whole:
        for ours, theirs in zip(map(half.encode, photos), map(whole.encode, photos), strict=True):
            for name, features in theirs.feature_maps.items():  # FP16 has 11 bits, and errors of many steps add up
                np.testing.assert_allclose(ours.feature_maps[name], features, atol=0.0125 * np.abs(features).max())


def test_lint_and_inspect_work_and_the_licence_is_told(small_bundle, model):
    told = CliRunner().invoke(main, ["lint", str(small_bundle), "--json"])
    assert json.loads(told.stdout)["findings"] == []
    shown = CliRunner().invoke(main, ["inspect", str(small_bundle)])
    assert shown.exit_code == 0 and "Apache-2.0" in shown.output
    assert Bundle.load(small_bundle).manifest.provenance["sam"].licence == "Apache-2.0"


def test_calibrate_changes_products_and_says_that_convolutions_stay_float(small_bundle, model, tmp_path, monkeypatch):
    monkeypatch.setenv("OVDEPLOY_CACHE", str(tmp_path / "cache"))
    for seed in range(3):
        Image.fromarray(draw_photo((96, 120), seed)).save(tmp_path / f"{seed}.png")
    told = CliRunner().invoke(main, [
        "calibrate", str(small_bundle), "--images", str(tmp_path), "--output", str(tmp_path / "int8"), "--backend",
        "onnxruntime", "--photos", "2", "--gate-photos", "1", "--ranges", "minmax", "--search", "stage", "--rounds",
        "1", "--keep-anyway",
    ])  # fmt: skip
    code, said = CALIBRATED.get(model, (3, "no stage is left"))
    assert told.exit_code == code and "sam_encoder" in told.output and said in told.output, told.output


def test_a_method_that_refines_is_the_reference_end_to_end(model, tmp_path):
    """Masks of the whole pipeline, refined by the small model, with prompts of all kinds beside."""
    networks = Networks.load(refining("s2clip", model))
    build_bundle(networks, tmp_path / "b")
    made = {(check["stage"], check["what"]) for check in checks(tmp_path / "b")}
    assert {("sam_encoder", "features"), ("sam_decoder", "low_res_logits")} <= made
    assert any(stage == "pipeline" and "refined" in what for stage, what in made)


def test_the_cosine_affinity_is_had_of_any_features(model, tmp_path):
    networks = Networks.load(refining("trident", model, affinity_kind="cosine"))
    build_bundle(networks, tmp_path / "b")
    assert ("sam_encoder", "affinity") in {(check["stage"], check["what"]) for check in checks(tmp_path / "b")}


@pytest.mark.parametrize("method", ["trident", "maskclip-affinity"])
@pytest.mark.parametrize("kind", ["affinity", "attention"])
def test_an_affinity_that_it_cannot_give_is_refused_when_the_recipe_is_read(model, method, kind):
    with pytest.raises(RecipeError, match=rf"{model}.*affinity_kind='{kind}'.*affinity_kind='cosine'.*s2clip"):
        refining(method, model, affinity_kind=kind)
    with pytest.raises(RecipeError, match="no global attention"):
        refining(method, model)


def test_a_model_of_another_package_is_judged_when_it_is_exported(small_networks, micro_networks):
    """It has no row, so its recipe is taken."""
    models = {**micro_networks.models, "sam": small_networks.models["sam"]}
    with pytest.raises(ExportError, match=r"affinity_kind='affinity'.*cosine"):
        _ = Networks(micro_networks.recipe, models, {}).modules["sam_encoder"]


# The photo in one square, the prompts in another


@pytest.mark.parametrize("hw", [(300, 400), (97, 512), (211, 64), (1, 900)])
def test_the_photo_lies_in_the_encoders_square_and_prompts_in_the_larger(hw):
    small = sam_frame(hw, SamDimensions(sam_side=512, sam_frame_side=1024, sam_grid=64), multiple=1)
    plain = sam_frame(hw, SamDimensions(sam_side=1024, sam_grid=64), multiple=1)
    assert small.valid_hw == plain.valid_hw and max(small.valid_hw) == 1024
    assert max(small.image_hw) == 512 and plain.image_hw == plain.valid_hw
    for ours, theirs in ((small.mask_rows, plain.mask_rows), (small.mask_columns, plain.mask_columns)):
        np.testing.assert_array_equal(ours.dense(), theirs.dense())
    assert max(small.tokens_hw) == 64


@pytest.mark.parametrize("sizes", [{"sam_frame_side": 1000}, {"sam_side": 0, "sam_grid": 0, "sam_frame_side": 1024}])
def test_a_square_of_prompts_that_does_not_fit_is_refused(sizes):
    plain = {"sam_side": 512, "sam_grid": 64, **sizes}
    with pytest.raises(msgspec.ValidationError, match="sam_frame_side"):
        msgspec.convert(plain, SamDimensions)


def test_the_reference_of_a_refined_photo_takes_both_squares(tmp_path):
    """S2CLIP's reference on EfficientViT-SAM: what the encoder saw is half as large as the square of the prompts."""
    networks = Networks.load(refining("s2clip", "micro_efficientvit_sam"))
    trace = Reference(networks).encode(draw_photo((150, 203)))
    assert trace.stages["sam_encoder"][0]["image"].shape == (1, 3, 128, 128)
    assert networks.dimensions.frame_side == 256 and networks.dimensions.mask_side == 64
