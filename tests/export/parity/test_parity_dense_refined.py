"""Engines of the dense pipeline with SAM against its reference: the photo's own stages, and the refined mask."""

from __future__ import annotations

import shutil

import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.parity.check import check_parity
from ovdeploy.runtime import Bundle


def failures(bundle, networks, photo, **how):
    checks = {(check.stage, check.what): check for check in check_parity(Bundle.load(bundle), networks, photo, **how)}
    assert {"sam_encoder", "sam_decoder", "clip_dense", "aggregate"} <= {stage for stage, _ in checks}
    refined = next(what for stage, what in checks if stage == "pipeline" and what.startswith("refined mask"))
    count, regions = (int(word) for word in refined.split("(")[1].split() if word.isdigit())
    assert 0 < count < regions, "some regions are refined, and some fail"
    return [check for check in checks.values() if not check.passed]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_refined_masks_are_the_references(micro_refined_bundle, micro_refined_networks, photo, backend):
    assert failures(micro_refined_bundle, micro_refined_networks, photo, backend=backend) == []


def test_so_they_are_in_half_precision(micro_refined_bundle, micro_refined_networks, photo, tmp_path):
    folder = shutil.copytree(micro_refined_bundle, tmp_path / "b")
    build_bundle(micro_refined_networks, folder, conversion=HalfConversion(micro_refined_networks, "fp16"))
    assert failures(folder, micro_refined_networks, photo, backend="onnxruntime", precision="fp16") == []
