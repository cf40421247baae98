"""Engines of the grounded pipeline against its reference, stage by stage and together."""

from __future__ import annotations

import json
import shutil

import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.parity.check import check_parity
from ovdeploy.export.reference.grounded.reference import GroundedReference
from ovdeploy.runtime import Bundle, Segmenter
from ovdeploy.runtime.cli.lint import lint
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.parity import run


def failures(bundle, networks, photo, **how):
    checks = list(check_parity(bundle, networks, photo, **how))
    assert {check.stage for check in checks} == {*bundle.manifest.stages, "pipeline", "prompt"}
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_give_what_the_reference_gives(micro_grounded_bundle, micro_grounded_networks, photo, backend):
    assert failures(Bundle.load(micro_grounded_bundle), micro_grounded_networks, photo, backend=backend) == []


@pytest.mark.parametrize("across", [False, True])
def test_things_over_surer_ones_are_dropped_as_the_reference_drops_them(
    across, micro_grounded_bundle, micro_grounded_networks, photo
):
    parameters = {"box_threshold": 0.0, "max_boxes": 12, "mask_nms_threshold": 0.5, "nms_across_classes": across}
    words = random_vocabulary(3, 64, background=True)
    wanted = GroundedReference(micro_grounded_networks).segment(photo, words, parameters=parameters).things()
    with Segmenter.load(micro_grounded_bundle, backend="onnxruntime") as segmenter:
        came = segmenter.segment(photo, words, parameters=parameters).instances()
        every = segmenter.segment(photo, words, parameters={**parameters, "mask_nms_threshold": 1.0}).instances()
    assert [each.class_index for each in came] == [each.class_index for each in wanted] and len(came) < len(every)
    assert all(abs(one.area - other.area) < 10 for one, other in zip(came, wanted, strict=True))  # pixels at an edge


@pytest.fixture(scope="module")
def half(micro_grounded_bundle, micro_grounded_networks, tmp_path_factory):
    folder = shutil.copytree(micro_grounded_bundle, tmp_path_factory.mktemp("half") / "b")
    build_bundle(micro_grounded_networks, folder, conversion=HalfConversion(micro_grounded_networks, "fp16"))
    return Bundle.load(folder)


def test_every_stage_does_so_in_half_precision_with_the_standard_islands(half, micro_grounded_networks, photo):
    checks = check_parity(half, micro_grounded_networks, photo, backend="onnxruntime", precision="fp16")
    assert [check for check in checks if check.stage in half.manifest.stages and not check.passed] == []


def test_tensorrts_parser_would_find_nothing_amiss(half):
    report = json.loads(run(lint, half.path, "--json").stdout)
    assert report["graphs"] == 8 and report["findings"] == []
