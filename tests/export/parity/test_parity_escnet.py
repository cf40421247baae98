"""Engines of ESC-Net against the reference: whole, and block by block on the reference's prompts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.parity.check import check_parity
from ovdeploy.runtime import Bundle, Segmenter
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.cli.lint import lint
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.parity import run, scale_layer


def checks_of(bundle, networks, photo, **how):
    checks = list(check_parity(Bundle.load(bundle), networks, photo, **how))
    assert {check.stage for check in checks} >= {"escnet", "escnet_blocks", "pipeline"}
    return {(check.stage, check.what): check for check in checks}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_blocks_are_right_and_choose_the_same_points(backend, micro_escnet_bundle, micro_escnet_networks, photo):
    checks = checks_of(micro_escnet_bundle, micro_escnet_networks, photo, backend=backend)
    assert [check for check in checks.values() if not check.passed] == []
    prompts = checks["pipeline", "prompts"].measures
    assert prompts["agreement"] == 1 and prompts["clear"] > 0.9


def test_so_they_are_in_half_precision_where_choices_stay_in_fp32(
    micro_escnet_bundle, micro_escnet_networks, photo, tmp_path
):
    folder = shutil.copytree(micro_escnet_bundle, tmp_path / "b")
    build_bundle(micro_escnet_networks, folder, conversion=HalfConversion(micro_escnet_networks, "fp16"))
    checks = checks_of(folder, micro_escnet_networks, photo, backend="onnxruntime", precision="fp16")
    assert [check for check in checks.values() if not check.passed] == []
    findings = json.loads(run(lint, folder, "--json").stdout)["findings"]
    assert {each["stage"] for each in findings} <= {"escnet_blocks"}, "it takes places as int64"


def test_a_point_that_is_elsewhere_fails(micro_escnet_bundle, micro_escnet_networks, photo, monkeypatch):
    from ovdeploy.export.reference.dense import escnet

    def moved(transformer, given):
        inputs, outputs = escnet.blocks_case(transformer, given)
        return inputs, {**outputs, "points": outputs["points"] + 1}

    monkeypatch.setattr("ovdeploy.export.reference.dense.reference.blocks_case", moved)
    checks = checks_of(micro_escnet_bundle, micro_escnet_networks, photo, backend="onnxruntime")
    assert [key for key, check in checks.items() if not check.passed] == [("pipeline", "prompts")]


def test_a_layer_scaled_by_a_tenth_fails(micro_escnet_bundle, micro_escnet_networks, photo, tmp_path):
    folder = shutil.copytree(micro_escnet_bundle, tmp_path / "b")
    scale_layer(folder, "escnet", 0.9)
    assert not checks_of(folder, micro_escnet_networks, photo, backend="onnxruntime")["escnet", "logits"].passed


@pytest.mark.parametrize("words", [1, 2, 20, 256])
def test_any_number_of_words_is_answered(words, micro_escnet_bundle, micro_escnet_networks):
    rng = np.random.default_rng(words)
    with open_stage(Bundle.load(micro_escnet_bundle), "escnet", "fp32", "onnxruntime") as session:
        shapes = {spec.name: spec.sized({"T": words}) for spec in session.contract.inputs}
        feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        feeds["text"] = F.normalize(torch.from_numpy(feeds["text"]), dim=1).numpy()
        came = session.run(feeds)["logits"]
    expected = micro_escnet_networks.modules["escnet"](*map(torch.from_numpy, feeds.values())).numpy()
    assert np.abs(came - expected).max() <= 1e-4 * np.abs(expected).max()  # the recipe's tolerance


def test_photos_are_segmented_and_encoded_once(micro_escnet_bundle, photo):
    with Segmenter.load(micro_escnet_bundle, backend="onnxruntime") as segmenter:
        for count in (1, 5, 300):  # of more than 256, each crop takes those that are most like it
            vocabulary = random_vocabulary(count, 64)
            with segmenter.engines.counted() as calls:
                encoded = segmenter.encode(photo)
                assert set(calls) == {"clip_dense"}
            with segmenter.engines.counted() as calls:
                result = encoded.segment(vocabulary)
                assert set(calls) == {"escnet"}
            assert np.array_equal(result.mask, segmenter.segment(photo, vocabulary).mask)
