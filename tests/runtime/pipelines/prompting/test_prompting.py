"""A bundle that holds SAM alone: no CLIP, no words, no method; all tools work on it by what the pipeline declares."""

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
from ovdeploy.runtime import Bundle, BundleError, ParameterError, Prompter, RecipeError, Segmenter, load_recipe
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.pipelines.base import open_trial
from ovdeploy.runtime.pipelines.prompting.trial import PromptTrial, best_of, grid
from ovdeploy.runtime.recipe.recipe import recipe_from, with_optional
from support.parity import run
from support.samples import draw_photo

SAM = {"sam": {"model": "micro", "weights": "random:3"}}


@pytest.fixture(scope="module")
def sam_networks():
    return Networks.load(load_recipe("sam-micro"))


@pytest.fixture(scope="module")
def sam_bundle(sam_networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "sam"
    build_bundle(sam_networks, path)
    return path


@pytest.fixture(scope="module")
def half_bundle(sam_bundle, sam_networks, tmp_path_factory):
    path = shutil.copytree(sam_bundle, tmp_path_factory.mktemp("half") / "sam")
    build_bundle(sam_networks, path, conversion=HalfConversion(sam_networks, "fp16"))
    return path


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_bundle_holds_two_stages_and_no_words(sam_bundle):
    bundle = Bundle.load(sam_bundle)
    assert list(bundle.manifest.stages) == ["sam_encoder", "sam_prompt_decoder"] == list(bundle.recipe.stages)
    assert bundle.manifest.text is None and not list(sam_bundle.glob("tokenizer*"))
    assert list(bundle.manifest.provenance) == ["sam"] and bundle.missing_stages() == []
    with pytest.raises(BundleError, match="takes no words"):
        bundle.tokenizer_path()


def test_its_engines_answer_as_those_of_a_bundle_with_clip(sam_bundle, complete_bundle, photo):
    """The same SAM in a training-free bundle, whose encoder gives an affinity beside."""
    with Prompter.load(sam_bundle) as alone, Prompter.load(complete_bundle) as beside:
        ours, theirs = (p.encode(photo).predict([[40, 50]]) for p in (alone, beside))
    np.testing.assert_allclose(ours.low_res_logits, theirs.low_res_logits, atol=2e-5)  # float32, other graphs


def test_a_bundle_without_the_interface_says_which_it_has(sam_bundle, micro_bundle):
    with pytest.raises(BundleError, match=r"Segmenter: its pipeline, 'prompting', has Prompter"):
        Segmenter.load(sam_bundle)
    with pytest.raises(BundleError, match="holds no sam_prompt_decoder stage"):
        Prompter.load(micro_bundle)
    told = invoke("evaluate", sam_bundle, "--dataset", "scenes", "--photos", 1)
    assert told.exit_code == 1 and "has Prompter" in told.stderr


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, r"needs a \[sam\] table"),
        ({**SAM, "method": "trident"}, "takes no words"),
        ({**SAM, "classes": ["cup"]}, "takes no words"),
        ({**SAM, "clip": {"model": "micro"}}, "unknown key 'clip'"),
        ({**SAM, "parameters": {"stride": 1}}, "unknown key 'stride'.*prompt_batch"),
        ({**SAM, "pipeline": "promting"}, "Did you mean 'prompting'"),
        ({**SAM, "pipeline": 3}, "unknown pipeline"),
        ({**SAM, "pipeline": []}, "pipeline"),
    ],
)
def test_a_recipe_of_it_is_as_strict_as_any(data, told):
    with pytest.raises(RecipeError, match=told):
        recipe_from({"name": "x", "pipeline": "prompting", **data}, "x.toml")


def test_its_decoder_is_no_optional_stage():
    with pytest.raises(RecipeError, match="unknown optional stage"):
        with_optional(load_recipe("sam-micro"), "sam_prompt_decoder")
    assert load_recipe("sam-micro").family.needed_by(Prompter) == ()


def test_parity_holds_every_stage_and_every_kind_of_prompt_against_sam_predictor(sam_bundle):
    result = run(parity, sam_bundle, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"]
    assert {check["stage"] for check in report["checks"]} == {"sam_encoder", "sam_prompt_decoder", "prompt"}
    assert len([check for check in report["checks"] if check["stage"] == "prompt"]) == 8


def test_parity_fails_where_an_engine_is_wrong(sam_bundle, tmp_path):
    from support.parity import scale_layer

    for stage in ("sam_encoder", "sam_prompt_decoder"):
        folder = shutil.copytree(sam_bundle, tmp_path / stage)
        scale_layer(folder, stage, 0.5)
        result = run(parity, folder)
        assert result.exit_code == 1 and f"FAIL {stage}" in result.stdout


def test_half_precision_is_made_and_proved_by_emulation(half_bundle):
    engines = Bundle.load(half_bundle).manifest.stages["sam_encoder"].engines
    assert set(engines) == {"fp32", "fp16"} and engines["fp16"].census.share("weights", "fp16") > 0.95
    result = run(parity, half_bundle, "--precision", "fp16", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"] and report["emulated"]


def test_islands_are_found_for_it(sam_networks, sam_bundle, tmp_path, photo):
    """The search compares its masks too; tolerances that random weights reach."""
    loose = msgspec.structs.replace(sam_networks.recipe.tolerances, half_labels=0.5, half_cosine=0.99)
    networks = Networks(
        msgspec.structs.replace(sam_networks.recipe, tolerances=loose), sam_networks.models, sam_networks.provenance
    )
    Image.fromarray(photo).save(tmp_path / "photo.png")
    folder, told = shutil.copytree(sam_bundle, tmp_path / "b"), []
    conversion = HalfConversion(networks, "fp16", "auto", [tmp_path / "photo.png"])
    build_bundle(networks, folder, conversion=conversion, progress=lambda event, **_: told.append(event))
    assert any("masks agree" in event for event in told)
    assert set(Bundle.load(folder).stage("sam_prompt_decoder").engines) == {"fp32", "fp16"}


def test_inspect_lint_and_profile_work_on_it(half_bundle, tmp_path):
    shown = invoke("inspect", half_bundle)
    assert shown.exit_code == 0 and "pipeline prompting" in shown.output and "prompt_batch 16" in shown.output
    found = invoke("lint", half_bundle, "--json")
    assert json.loads(found.stdout)["findings"] == [] and json.loads(found.stdout)["graphs"] == 4
    profiled = invoke("profile", half_bundle, "--by", "onnxruntime", "--iterations", 1, "--json", "--size", "R=2")
    stages = json.loads(profiled.stdout)
    assert [stage["stage"] for stage in stages] == ["sam_encoder", "sam_prompt_decoder"]
    assert stages[1]["sizes"] == {"R": 2, "N": 2}


def test_a_trial_labels_every_pixel_with_the_point_whose_mask_is_best(sam_bundle, photo):
    with open_trial(sam_bundle, backend="onnxruntime") as trial, trial.engines.counted() as calls:
        result = trial.segment(photo, trial.vocabulary())
        (broken, whole) = list(trial.segment_many(["missing.png", photo], trial.vocabulary()))
    assert (
        result.mask.shape == photo.shape[:2]
        and result.names == PromptTrial.NAMES
        and result.mask.max() < len(PromptTrial.NAMES)
    )
    assert calls["sam_prompt_decoder"][0]["R"] == len(grid((9, 9))) == 16
    assert isinstance(broken, Exception) and whole.mask.tobytes() == result.mask.tobytes()
    with open_trial(sam_bundle, parameters={"prompt_batch": 5}) as trial, trial.engines.counted() as calls:
        trial.warmup()
    assert [call["R"] for call in calls["sam_prompt_decoder"]] == [5, 5, 5, 1]


@pytest.mark.parametrize("name", ["workers", "engines"])
def test_a_trial_keeps_what_segment_many_promises(sam_bundle, photo, name):
    with open_trial(sam_bundle, backend="onnxruntime") as trial:
        with pytest.raises(ParameterError, match=f"{name}=0"):
            trial.segment_many([photo], trial.vocabulary(), **{name: 0})
        alone, running, most = trial.segment(photo, trial.vocabulary()), [], []
        session, run = trial.engines["sam_encoder"], trial.engines["sam_encoder"].run

        def counted(*given):
            running.append(1)
            most.append(len(running))
            outputs = run(*given)
            running.pop()
            return outputs

        session.run = counted
        results = list(trial.segment_many([photo] * 6, trial.vocabulary(), workers=3))
    assert max(most) == 1 and all(result.mask.tobytes() == alone.mask.tobytes() for result in results)


def test_of_masks_that_overlap_the_surer_one_counts():
    class Answer:
        def __init__(self, iou, columns):
            self.masks, self.iou = np.zeros((1, 2, 4), bool), np.array([iou], np.float32)
            self.masks[0][:, columns] = True

    labels, scores = best_of([Answer(0.9, slice(0, 2)), Answer(0.5, slice(1, 3))], (2, 4))
    assert labels.tolist() == [[1, 1, 2, 0]] * 2
    np.testing.assert_allclose(scores[0], [0.9, 0.9, 0.5, 0.0], atol=1e-6)  # float32


def test_bench_runs_it_beside_sam_predictor(sam_bundle):
    told = invoke(
        "bench",
        sam_bundle,
        "--rounds",
        1,
        "--runner",
        "onnxruntime",
        "--against",
        "torch",
        "--sweep",
        "size",
        "--json",
        "-",
    )
    report = json.loads(told.stdout)
    assert told.exit_code == 0 and report["calls"] == {"sam_encoder": 1, "sam_prompt_decoder": 1}
    torch, engines = report["runners"]
    assert torch["label"] == "torch" and engines["agreement"] > 0.999
    assert engines["steps"]["sam_encoder"]["gflop"] > 0 and len(report["sweeps"][0]["points"]) == 5
    refused = invoke("bench", sam_bundle, "--sweep", "windows")
    assert refused.exit_code == 1 and "unknown axis 'windows'" in refused.stderr


def test_calibrate_makes_its_encoder_int8(sam_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("OVDEPLOY_CACHE", str(tmp_path / "cache"))
    for seed in range(4):
        Image.fromarray(draw_photo((96, 120), seed)).save(tmp_path / f"{seed}.png")
    told = invoke(
        "calibrate", sam_bundle, "--images", tmp_path, "--output", tmp_path / "int8", "--backend", "onnxruntime",
        "--photos", 2, "--gate-photos", 1, "--ranges", "minmax", "--search", "stage", "--rounds", 1, "--keep-anyway",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    manifest = Bundle.load(tmp_path / "int8").manifest
    assert set(manifest.stages["sam_encoder"].engines) == {"fp32", "int8"}
    assert manifest.stages["sam_prompt_decoder"].substitutes == {"int8": "fp32"}
    with Prompter.load(tmp_path / "int8", precision="int8") as prompter:
        assert prompter.encode(draw_photo((96, 120))).predict([[20, 30]]).masks.shape == (3, 96, 120)
