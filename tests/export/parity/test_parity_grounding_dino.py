"""Grounding DINO in the pipeline: every stage and the whole on engines against PyTorch. Its export is shared."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.parity.check import check_parity
from ovdeploy.runtime import Bundle, Segmenter, Vocabulary
from ovdeploy.runtime.errors import VocabularyError
from ovdeploy.runtime.graph.lint import lint_model

pytest.importorskip("transformers")

DETECTOR = "ground_detector"


@pytest.fixture(scope="module")
def networks(micro_dino_networks):
    return micro_dino_networks


@pytest.fixture(scope="module")
def bundle(networks, micro_dino_bundle, tmp_path_factory):
    folder = shutil.copytree(micro_dino_bundle, tmp_path_factory.mktemp("grounded-dino") / "b")
    build_bundle(networks, folder, conversion=HalfConversion(networks, "fp16"))
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def photo():
    return np.kron(np.random.default_rng(0).integers(0, 256, (9, 12, 3)), np.ones((12, 12, 1))).astype(np.uint8)


def failures(bundle, networks, photo, **how):
    checks = list(check_parity(bundle, networks, photo, **how))
    assert {"pipeline", *bundle.manifest.stages} <= {check.stage for check in checks}
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_give_what_the_reference_gives(backend, bundle, networks, photo):
    assert failures(bundle, networks, photo, backend=backend) == []


def test_so_do_both_stages_in_half_precision_as_sets(bundle, networks, photo):
    failed = failures(bundle, networks, photo, backend="onnxruntime", precision="fp16")
    assert not {"ground_text", DETECTOR} & {check.stage for check in failed}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_engine_for_tensorrt_holds_a_grid_sample(precision, bundle):
    for stage in bundle.manifest.stages:
        graph = onnx.load(bundle.engine_path(stage, precision))
        assert "GridSample" not in {node.op_type for node in graph.graph.node}
        assert not [finding for version in ((10, 0), (11, 4)) for finding in lint_model(graph, version)]


def test_tensorrt_rtx_builds_it(bundle, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings")
    from ovdeploy.runtime.bundle.plan_building import build_plans

    copy = Bundle.load(shutil.copytree(bundle.path, tmp_path / "b"))
    made = build_plans(copy, precision="fp16", stages=["ground_text", DETECTOR], library="tensorrt-rtx")
    for stage in ("ground_text", DETECTOR):
        (plan,) = made.stage(stage).plans
        assert plan.layers["fp16"] > 0 and made.verified(plan.file).read_bytes()[:4] == b"vtrt"


def test_one_word_300_and_none(bundle, photo, tmp_path):
    with Segmenter.load(bundle.path, backend="onnxruntime") as segmenter:
        one = segmenter.segment(photo, segmenter.vocabulary(["red dotted"]))
        assert {each.class_name for each in one.instances()} == {"red dotted"}
        many = segmenter.vocabulary([f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmno"])
        assert len(segmenter.segment(photo, many).instances()) > 0
        assert segmenter.segment(photo, segmenter.vocabulary(["background"])).instances() == ()
        none = segmenter.segment(photo, many, parameters={"box_threshold": 1.0})
        assert none.instances() == () and not none.mask.any()
        many.save(tmp_path / "words.npz")
        again = segmenter.segment(photo, Vocabulary.load(tmp_path / "words.npz"))
        assert np.array_equal(again.mask, segmenter.segment(photo, many).mask), "the file holds all that is needed"


def test_a_name_that_does_not_fit_is_told(bundle):
    with (
        Segmenter.load(bundle.path, backend="onnxruntime") as segmenter,
        pytest.raises(VocabularyError, match="reads 29"),
    ):
        segmenter.vocabulary(["x" * 40, "sky"])
