from __future__ import annotations

import json
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.cli.export_engines import export_engines
from ovdeploy.export.cli.parity import parity
from ovdeploy.export.parity.check import check_parity
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, load_recipe
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.stage.compare import compare
from support.extractors import MODELS
from support.parity import run, scale_layer


def test_a_good_bundle_passes_and_says_so(micro_bundle):
    result = run(parity, micro_bundle, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"]
    assert {check["stage"] for check in report["checks"]} == {*Bundle.load(micro_bundle).manifest.stages, "pipeline"}
    refined = next(check for check in report["checks"] if check["what"].startswith("refined mask"))
    assert refined["measures"]["agreement"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("which", [0.0, 0.9], ids=["first", "late"])  # the last of SAM's feeds a norm: no effect
@pytest.mark.parametrize("stage", ["text_encoder", "dino", "clip_image", "sam_encoder", "sam_decoder"])
def test_a_layer_scaled_by_one_percent_fails(micro_bundle, tmp_path, stage, which):
    folder = shutil.copytree(micro_bundle, tmp_path / "b")
    scale_layer(folder, stage, which)
    result = run(parity, folder)
    assert result.exit_code == 1
    assert f"FAIL {stage}" in result.stdout


def test_other_weights_are_refused(micro_bundle):
    result = run(parity, micro_bundle, "--dino-weights", "random:3")
    assert result.exit_code == 1
    assert "dino weights given (random:3)" in result.stderr and "--dino-weights" in result.stderr


def test_weights_from_a_file_must_be_given_again(micro_networks, tmp_path):
    path = tmp_path / "dino.pth"
    torch.save(micro_networks.models["dino"].state_dict(), path)
    networks = Networks.load(load_recipe("micro"), {"dino": str(path)})
    build_bundle(networks, tmp_path / "b", stages=["dino"])
    result = run(parity, tmp_path / "b")
    assert result.exit_code == 1 and "'dino.pth'" in result.stderr


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if name != "trident"])
def test_every_row_passes(method, micro_networks, photo, tmp_path):
    """The rows of the methods table on the smallest models; `trident` is the recipe `micro` itself."""
    micro, row = micro_networks.recipe, METHODS[method]
    parameters = msgspec.structs.replace(micro.parameters, stride=32, refine=row.refine)
    kept = {role: choice for role, choice in micro.models.items() if role != "sam" or row.affinity or row.refine}
    recipe = msgspec.structs.replace(micro, method=method, models=kept, parameters=parameters)
    models = {role: micro_networks.models[role] for role in recipe.models}
    networks = replace(micro_networks, recipe=recipe, models=models)
    build_bundle(networks, tmp_path / "b", stages=[s for s in recipe.stages if s != "text_encoder"])
    checks = list(check_parity(Bundle.load(tmp_path / "b"), networks, photo))
    assert [check for check in checks if not check.passed] == []
    assert checks[-1].what.startswith("refined mask" if row.refine else "coarse mask")


@pytest.mark.parametrize(
    "changed",
    [
        {"affinity_kind": "attention"},
        {"affinity_kind": "cosine"},
        {"sam_halves": True},
        {"split_regions": False},
        {"prompts": ("box", "mask")},
        {"prompts": ("point",)},
        {"prompts": ("mask",), "as_published": False},
    ],
    ids=str,
)
def test_tridents_ablations_pass(changed, micro_bundle, tmp_path):
    folder = shutil.copytree(micro_bundle, tmp_path / "b")
    tiny = load_recipe("micro")
    ablated = msgspec.structs.replace(tiny.parameters, **changed)
    build_bundle(Networks.load(msgspec.structs.replace(tiny, parameters=ablated)), folder)
    result = run(parity, folder)
    assert result.exit_code == 0, result.stdout
    assert "refined mask" in result.stdout


@pytest.mark.parametrize("method", ["trident", "s2clip"])
@pytest.mark.parametrize(("extractor", "crop"), [("dinov2", 112), ("dinov3", 96), ("sam", 96)])
def test_odd_grids_pass(method, extractor, crop, micro_networks, photo, tmp_path):
    """Windows of 7 CLIP patches and 8 of DINOv2's 14 pixels, of 6 and 6, and of 6 and SAM's 32."""
    torch.manual_seed(0)
    model = {"sam": lambda: micro_networks.models["sam"], **MODELS}[extractor]()
    tiny = micro_networks.recipe
    # a low scale, so that probabilities do not round to 1: which of many such pixels is a region's point is chance
    settings = msgspec.structs.replace(tiny.parameters, crop=crop, stride=32, window_batch=2, logit_scale=10.0)
    networks = replace(
        micro_networks,
        recipe=msgspec.structs.replace(tiny, method=method, parameters=settings),
        models={**micro_networks.models, "dino": model.eval().requires_grad_(False)},
    )
    build_bundle(networks, tmp_path / "b", stages=[s for s in networks.recipe.stages if s != "text_encoder"])
    checks = list(check_parity(Bundle.load(tmp_path / "b"), networks, photo))
    assert [check for check in checks if not check.passed] == []
    assert checks[-1].what.startswith("refined mask")


def test_refinement_as_meant_passes(micro_bundle, tmp_path):
    """With `as_published` off, another decoder is exported, and prompts and merging differ."""
    folder = shutil.copytree(micro_bundle, tmp_path / "b")
    micro = load_recipe("micro")
    meant = msgspec.structs.replace(micro.parameters, as_published=False)
    build_bundle(Networks.load(msgspec.structs.replace(micro, parameters=meant)), folder)
    before, after = (Bundle.load(path).manifest.stages for path in (micro_bundle, folder))
    assert [stage for stage in after if after[stage] != before[stage]] == ["sam_decoder"]
    result = run(parity, folder)
    assert result.exit_code == 0, result.stdout
    assert "refined mask" in result.stdout


def test_the_command_exports_and_tells_where(tmp_path):
    result = run(
        export_engines, "micro", "--output", tmp_path / "b", "--stages", "head,dino", "--sam-weights", "random:4"
    )
    assert result.exit_code == 0 and result.stdout.strip() == str(tmp_path / "b")
    assert list(Bundle.load(tmp_path / "b").manifest.stages) == ["dino", "head"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tinny"], 1, "Did you mean 'tiny'?"),
        (["micro", "--clip-weights", "missing.pt"], 1, "no such checkpoint"),
        (["micro", "--precision", "int3"], 2, "fp32"),
        ([], 2, "RECIPE"),
    ],
)
def test_the_command_refuses_clearly(arguments, code, told):
    result = run(export_engines, *arguments)
    assert result.exit_code == code and told in result.stderr


def test_compare_measures_what_it_says():
    expected = np.array([3.0, 4.0, 0.0])
    difference = compare(np.array([3.0, 4.0, 0.5]), expected)
    assert difference.max_abs == 0.5 and difference.relative == pytest.approx(0.1)
    assert difference.typical == 0.0, "one entry that flipped does not move the median"
    assert compare(expected * 1.01, expected).typical == pytest.approx(0.01, rel=0.2)
    assert compare(expected, expected).cosine == pytest.approx(1)
    with pytest.raises(ValueError, match="shapes"):
        compare(expected, expected[:2])
