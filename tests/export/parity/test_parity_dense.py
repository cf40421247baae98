"""Engines of the dense pipeline against its reference, stage by stage and together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import msgspec
import pytest
from click.testing import CliRunner

from ovdeploy.calib.int8.command import calibrate
from ovdeploy.calib.tune.command import tune
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.fingerprint import fingerprint_of
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.parity.check import check_parity
from ovdeploy.runtime import Bundle, Segmenter
from ovdeploy.runtime.cli.evaluate import evaluate
from ovdeploy.runtime.cli.lint import lint
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.parity import run, scale_layer
from support.samples import draw_photos
from support.segmenting import assert_same

STAGES = {"text_encoder", "clip_dense", "aggregate"}


def failures(bundle, networks, photo, **how):
    checks = list(check_parity(bundle, networks, photo, **how))
    assert {check.stage for check in checks} == {*bundle.manifest.stages, "pipeline"}
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_give_what_the_reference_gives(micro_dense_bundle, micro_dense_networks, photo, backend):
    assert failures(Bundle.load(micro_dense_bundle), micro_dense_networks, photo, backend=backend) == []


@pytest.fixture(scope="module")
def half(micro_dense_bundle, micro_dense_networks, tmp_path_factory):
    folder = shutil.copytree(micro_dense_bundle, tmp_path_factory.mktemp("half") / "b")
    build_bundle(micro_dense_networks, folder, conversion=HalfConversion(micro_dense_networks, "fp16"))
    return Bundle.load(folder)


def test_so_they_do_in_half_precision_with_the_standard_islands(half, micro_dense_networks, photo):
    assert failures(half, micro_dense_networks, photo, backend="onnxruntime", precision="fp16") == []


def test_tensorrts_parser_would_find_nothing_amiss(half):
    report = json.loads(run(lint, half.path, "--json").stdout)
    assert report["graphs"] == 6 and report["findings"] == []


@pytest.mark.parametrize(
    ("stage", "which"),
    [
        *((stage, which) for stage in ("text_encoder", "clip_dense") for which in (0.0, 0.9)),
        *(("aggregate", which) for which in (0.035, 0.65)),  # its first and its late ones feed norms: no effect
    ],
)
def test_a_layer_scaled_by_one_percent_fails(micro_dense_bundle, micro_dense_networks, photo, tmp_path, stage, which):
    folder = shutil.copytree(micro_dense_bundle, tmp_path / "b")
    scale_layer(folder, stage, which)
    checks = check_parity(Bundle.load(folder), micro_dense_networks, photo, backend="onnxruntime")
    assert any(check.stage == stage and not check.passed for check in checks)  # and what comes after is not asked


@pytest.fixture(scope="module")
def pooled(micro_dense_networks):
    recipe = micro_dense_networks.recipe
    coarser = msgspec.structs.replace(recipe, parameters=msgspec.structs.replace(recipe.parameters, pooling=2))
    return replace(micro_dense_networks, recipe=coarser)


def test_pooling_changes_one_engine(micro_dense_networks, pooled):
    before, after = (
        {stage: fingerprint_of(stage, of, of.contract(stage)) for stage in STAGES}
        for of in (micro_dense_networks, pooled)
    )
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"aggregate"}


@pytest.mark.slow
def test_the_engine_that_pools_is_right_too(pooled, photo, tmp_path):
    build_bundle(pooled, tmp_path / "b", stages=["clip_dense", "aggregate"])
    assert failures(Bundle.load(tmp_path / "b"), pooled, photo, backend="onnxruntime") == []


def test_it_is_evaluated_against_its_reference(micro_dense_bundle, tmp_path):
    how = ("--dataset", "scenes", "--photos", 1, "--against", "torch", "--backend", "onnxruntime", "--json")
    result = run(evaluate, micro_dense_bundle, *how, "--output", tmp_path / "evaluation")
    assert result.exit_code == 0, result.output
    assert "coarse" in json.dumps(json.loads(result.stdout))


@pytest.mark.parametrize("goal", [(), ("--budget-ms", "100000")])
def test_its_thresholds_and_its_pace_are_tuned(micro_refined_bundle, tmp_path, goal):
    how = (*goal, "--dataset", "scenes", "--photos", "4", "--trials", "2", "--backend", "onnxruntime", "--json")
    result = CliRunner().invoke(
        tune, [str(micro_refined_bundle), *how, "--output", str(tmp_path / "t.toml"), "--cache", str(tmp_path / "c")]
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    expected = {"side", "stride", "refine"} if goal else {"region_threshold", "iou_threshold", "min_area"}
    assert set(told["chosen"]) == expected


def test_recorded_answers_give_the_masks_of_segment(micro_refined_bundle, photo):
    every = {"iou_threshold": -100.0, "region_threshold": 0.0}
    with Segmenter.load(micro_refined_bundle, backend="onnxruntime", parameters=every) as segmenter:
        vocabulary = random_vocabulary(4, 64)
        answers = segmenter.answers(photo, vocabulary)
        for point in ({}, {"min_area": 400.0}, {"refine": False}):
            came = segmenter.decided(answers, photo, vocabulary, segmenter.engines["sam_decoder"], point)
            assert_same(came, segmenter.segment(photo, vocabulary, parameters=point))


def test_its_tower_is_calibrated(micro_dense_bundle, tmp_path):
    draw_photos(tmp_path / "photos", [f"{index}.png" for index in range(9)])
    folder = shutil.copytree(micro_dense_bundle, tmp_path / "b")
    how = ("--images", tmp_path / "photos", "--photos", 4, "--gate-photos", 2, "--classes", "a, b, c")
    quickly = ("--backend", "onnxruntime", "--search", "stage", "--rounds", 1, "--keep-anyway")
    result = run(calibrate, folder, *how, *quickly, "--output", tmp_path / "int8")
    assert result.exit_code == 0, result.output
    engine = Bundle.load(tmp_path / "int8").stage("clip_dense").engines["int8"]
    assert engine.files[0].bytes < Bundle.load(folder).stage("clip_dense").engines["fp32"].files[0].bytes
