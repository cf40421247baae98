"""Names of CAT-Seg's checkpoints: a file with them fits, whole and strictly, and what is amiss is told by its name."""

from __future__ import annotations

import json
import re

import pytest
import torch

from ovdeploy.export.models.checkpoints.catseg_names import CATSEG
from ovdeploy.export.models.checkpoints.fitting import Reading, fit
from ovdeploy.export.models.dense.builds import build
from ovdeploy.export.models.weights import load_model, random_state
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.recipe.recipe import ModelChoice
from support.public_names import public_names


@pytest.fixture(scope="module")
def state():
    return public_names(random_state(build("micro_catseg"), 5))


def loaded(state, path):
    torch.save({"model": state, "iteration": 80000}, path)
    return load_model("dense", ModelChoice(model="micro_catseg"), str(path))


def test_a_checkpoint_of_detectron2_fits(state, tmp_path):
    module, provenance = loaded(state, tmp_path / "model_final.pth")
    expected = random_state(build("micro_catseg"), 5)
    came = module.state_dict()
    assert came.keys() == expected.keys() and all(torch.equal(came[name], expected[name]) for name in expected)
    assert provenance.licence == "Apache-2.0" and "read as CAT-Seg's" in provenance.changes


def test_every_tensor_of_it_is_asked_for(state):
    """One of each kind in turn is missing."""
    kinds = {re.sub(r"\.\d+\.", ".N.", name): name for name in state if not name.endswith("attn_mask")}
    module = build("micro_catseg")
    for name in kinds.values():
        fewer = {other: tensor for other, tensor in state.items() if other != name}
        with pytest.raises(WeightsError, match="does not fit the model"):
            fit(fewer, module, Reading((CATSEG,)), "the model", "the file")


def test_what_does_not_belong_there_is_told_by_its_name(state, tmp_path):
    with pytest.raises(WeightsError, match=r"1 unexpected \(sem_seg_head.predictor.transformer.conv2.weight"):
        loaded({**state, "sem_seg_head.predictor.transformer.conv2.weight": torch.zeros(1)}, tmp_path / "more.pth")


@pytest.mark.slow
@pytest.mark.parametrize(("theirs", "ours"), [("ViT-B/16", "catseg_vit_b"), ("ViT-L/14@336px", "catseg_vit_l")])
def test_the_published_names_and_shapes_fit(golden, theirs, ours):
    names = json.loads((golden / "learned" / "catseg-names.json").read_text())["state_dict"][theirs]
    module = build(ours)
    zeros = {name: torch.zeros(()).expand(shape) for name, shape in names.items()}
    assert fit(zeros, module, Reading((CATSEG,)), "the model", "the file").state.keys() == module.state_dict().keys()
