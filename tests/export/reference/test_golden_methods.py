"""Segment-then-splice against cases computed with the methods' authors' own code, at full size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.reference.networks import Networks
from ovdeploy.export.reference.training_free.pipeline import Reference
from ovdeploy.runtime import Segmenter, Vocabulary, load_recipe
from ovdeploy.runtime.geometry.bands import resize
from ovdeploy.runtime.pipelines.training_free.methods import method_of
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo

pytestmark = pytest.mark.slow

RECIPES = {"clearclip": "clearclip-b16"}
LOGITS, LABELS = 1e-3, 0.999  # float32 through 12 blocks; a pixel may change where two classes tie


@pytest.fixture(scope="module", params=["proxyclip-b16", "clearclip"])
def case(request, golden):
    with np.load(golden / "methods" / f"{request.param}.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    settings = {"short_side": meta["short"], "stride": meta["stride"]}
    return {
        **arrays,
        "recipe": load_recipe(RECIPES.get(request.param, request.param)),
        "names": meta["names"],
        "settings": settings,
    }


@pytest.fixture(scope="module")
def networks(case, golden_weights):
    return Networks.load(case["recipe"], golden_weights)


def relative(came, expected):
    came, expected = came.astype(np.float64), expected.astype(np.float64)
    return np.linalg.norm(came - expected) / np.linalg.norm(expected)


def test_reference_meets_the_authors(case, networks):
    vocabulary = Vocabulary(case["names"], case["class_embeddings"])
    trace = Reference(networks).segment(case["image"], vocabulary, parameters=case["settings"])
    assert trace.resized_hw == tuple(case["resized_hw"])
    assert len(trace.image_features) == int(case["windows"])
    assert relative(trace.image_features[0, :, :16].numpy(), case["first_window_features"]) < LOGITS
    assert (trace.mask == case["mask_coarse"]).mean() >= LABELS


def test_engines_meet_the_authors(case, networks, tmp_path):
    build_bundle(
        networks, tmp_path / "b", stages=[s for s in ("dino", "clip_image", "head") if s in networks.recipe.stages]
    )
    vocabulary = Vocabulary(case["names"], case["class_embeddings"])
    with Segmenter.load(tmp_path / "b") as segmenter:
        head, logits = segmenter.engines["head"], []
        run = head.run
        head.run = lambda feeds: logits.append(run(feeds)) or logits[-1]
        result = segmenter.segment(case["image"], vocabulary, parameters=case["settings"])
        settings = segmenter._overridden(segmenter.parameters, case["settings"])
        plan = plan_photo((400, 600), settings, method_of(networks.recipe), networks.dimensions)
    full = resize(plan.photo.rows, plan.photo.columns, logits[0]["logits"])
    assert relative(full[:, ::8, ::8], case["logits_small"]) < LOGITS
    assert (result.mask == case["mask_coarse"]).mean() >= LABELS
