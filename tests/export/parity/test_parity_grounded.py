"""Engines of the grounded pipeline against its reference, stage by stage and together."""

from __future__ import annotations

import json
import shutil

import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.parity.check import check_parity
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.cli.lint import lint
from support.parity import run


def failures(bundle, networks, photo, **how):
    checks = list(check_parity(bundle, networks, photo, **how))
    assert {check.stage for check in checks} == {*bundle.manifest.stages, "pipeline", "prompt"}
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_give_what_the_reference_gives(micro_grounded_bundle, micro_grounded_networks, photo, backend):
    assert failures(Bundle.load(micro_grounded_bundle), micro_grounded_networks, photo, backend=backend) == []


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
