"""The four engines of a model with a memory against its modules, one by one and in the loop; the commands on them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ovdeploy.calib.int8.command import calibrate
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.cli.parity import parity
from ovdeploy.export.models.promptable.hiera import Hiera
from ovdeploy.export.models.promptable.memory.sizes import MemorySizes
from ovdeploy.export.models.promptable.memory.video import OLD, VideoSam2
from ovdeploy.export.models.promptable.sam import SMALLEST
from ovdeploy.export.models.promptable.sam2 import MICRO
from ovdeploy.export.parity.check import check_parity
from ovdeploy.export.reference.tracking.reference import something_found, trace_photo
from ovdeploy.runtime import Bundle, Tracker
from ovdeploy.runtime.cli.bench import bench
from ovdeploy.runtime.cli.inspect import inspect
from ovdeploy.runtime.cli.lint import lint
from ovdeploy.runtime.cli.profile import profile
from ovdeploy.runtime.pipelines.tracking.tracker import STAGES
from ovdeploy.runtime.pipelines.tracking.trial import moved_frames
from ovdeploy.runtime.scenes import draw_clip
from support.parity import run, scale_layer
from support.sam2_video import lively, networks_of
from support.samples import draw_photos

ONNXRUNTIME = ("--backend", "onnxruntime")


@pytest.fixture(scope="module")
def photo():
    """One on which random weights find objects."""
    return draw_clip(seed=1, frames=1).frames[0]


def failures(bundle, networks, photo, **how):
    checks = list(check_parity(bundle, networks, photo, **how))
    assert {check.stage for check in checks} == {*STAGES, "track"}
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_give_what_the_modules_give(micro_video_bundle, micro_video_networks, photo, backend):
    assert failures(Bundle.load(micro_video_bundle), micro_video_networks, photo, backend=backend) == []


def test_what_is_compared_reads_prompted_and_tracked_frames(micro_video_networks, photo):
    stages = trace_photo(micro_video_networks, photo).stages
    fed, _ = stages["sam_memory_attention"]
    assert fed["memory_age"].tolist() == [0, 1] and fed["pointers"].shape[1] == 2
    assert set(stages) == set(STAGES)


@pytest.fixture(scope="module")
def half(micro_video_bundle, micro_video_networks, tmp_path_factory):
    folder = shutil.copytree(micro_video_bundle, tmp_path_factory.mktemp("half") / "b")
    build_bundle(micro_video_networks, folder, conversion=HalfConversion(micro_video_networks, "fp16"))
    return Bundle.load(folder)


def test_so_they_do_in_half_precision_with_the_standard_islands(half, micro_video_networks, photo):
    assert failures(half, micro_video_networks, photo, backend="onnxruntime", precision="fp16") == []


def test_tensorrts_parser_would_find_nothing_amiss(half):
    report = json.loads(run(lint, half.path, "--json").stdout)
    assert report["graphs"] == 2 * len(STAGES) and report["findings"] == []


@pytest.mark.parametrize(
    ("stage", "which"),
    [(stage, 1.0 if stage == "sam_memory_encoder" else 0.9) for stage in STAGES],  # its others feed norms
)
def test_a_layer_scaled_by_one_percent_fails(micro_video_bundle, tmp_path, stage, which):
    folder = shutil.copytree(micro_video_bundle, tmp_path / "b")
    scale_layer(folder, stage, which)
    result = run(parity, folder, *ONNXRUNTIME)
    assert result.exit_code == 1 and f"FAIL {stage}" in result.stdout


def test_masks_of_nothing_prove_nothing(micro_video_networks, photo):
    tracked = trace_photo(micro_video_networks, photo).tracked
    assert something_found(tracked).passed
    absent = tuple(replace(each, score=-1.0) for each in tracked.objects)
    everywhere = tuple(replace(each, mask=np.ones_like(each.mask)) for each in tracked.objects)
    for objects in ((), absent, everywhere):
        check = something_found(replace(tracked, objects=objects))
        assert not check.passed and "give another photo" in check.limit


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_stages_that_edgetam_has_otherwise_give_what_its_modules_give(
    edgetam_memory_bundle, micro_edgetam_video_networks, photo, backend
):
    bundle = Bundle.load(edgetam_memory_bundle)
    checks = list(check_parity(bundle, micro_edgetam_video_networks, photo, backend=backend))
    assert {check.stage for check in checks} == set(bundle.manifest.stages)
    assert [check for check in checks if not check.passed] == []


@pytest.mark.slow
def test_so_they_do_in_sam_2_0(tmp_path, photo):
    """Which has EdgeTAM's pointers and memory encoder, and SAM 2.1's grid of memories: small, with random weights."""
    memory = MemorySizes(channels=64, grid=16, width=16, layers=2, mlp=64, **OLD)
    networks = networks_of(lively(VideoSam2(Hiera(MICRO), SMALLEST, memory), seed=4))
    build_bundle(networks, tmp_path / "b", stages=["sam_memory_encoder", "sam_memory_attention"])
    bundle = Bundle.load(tmp_path / "b")
    assert "object_score" not in bundle.stage("sam_memory_encoder").contract.input_names
    for backend in ("onnxruntime", "openvino"):
        assert [check for check in check_parity(bundle, networks, photo, backend=backend) if not check.passed] == []


# Commands


@pytest.mark.slow
def test_the_image_encoder_is_calibrated_and_its_masks_are_tracked(micro_video_bundle, tmp_path, photo):
    draw_photos(tmp_path / "photos", [f"{index}.png" for index in range(6)])
    folder = shutil.copytree(micro_video_bundle, tmp_path / "b")
    how = ("--images", tmp_path / "photos", "--photos", 3, "--gate-photos", 1, "--rounds", 1, "--keep-anyway")
    result = run(calibrate, folder, *how, *ONNXRUNTIME, "--output", tmp_path / "int8")
    assert result.exit_code == 0, result.output
    made = {stage for stage, entry in Bundle.load(tmp_path / "int8").manifest.stages.items() if "int8" in entry.engines}
    assert made == {"sam_encoder"}, "the loop's stages stay as they are: what they make comes back to them"
    with Tracker.load(tmp_path / "int8", backend="onnxruntime", precision="int8") as tracker:
        assert len(moved_frames(tracker, photo).objects) == 4


def test_every_engine_is_told_timed_and_profiled(micro_video_bundle, tmp_path):
    folder = shutil.copytree(micro_video_bundle, tmp_path / "b")
    told = run(inspect, micro_video_bundle)
    assert told.exit_code == 0 and all(stage in told.stdout for stage in STAGES)
    timed = run(bench, micro_video_bundle, "--runner", "onnxruntime", "--rounds", 1, "--json", "-")
    assert timed.exit_code == 0, timed.output
    for stage in STAGES:
        ran = run(profile, folder, "--stages", stage, "--by", "onnxruntime", "--iterations", 1)
        assert ran.exit_code == 0, ran.output
