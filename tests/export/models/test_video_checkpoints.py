"""Checkpoints for videos, as Meta and as transformers publish them: all names are those of our models, none is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ovdeploy.export.models.checkpoints.fitting import fit
from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.sam import BUILDS, SAM
from ovdeploy.export.models.weights import random_state
from ovdeploy.runtime.errors import WeightsError
from support.upstream import frozen

THEIRS = Path(__file__).parent / "video_names"
"""Names and shapes of transformers' files; `tests/measure/video_names.py` writes them."""
SIZES = ("tiny", "small", "base_plus", "large")
PUBLISHED = {f"sam2.1_hiera_{size}_video": f"sam2.1_hiera_{size}" for size in SIZES} | {"edgetam_video": "edgetam"}


def own(name: str) -> dict[str, list[int]]:
    with torch.device("meta"):
        return {key: list(value.shape) for key, value in BUILDS[name].module().state_dict().items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_are_those_of_the_published_file_the_memory_too(name):
    published, tensors = frozen(PUBLISHED[name]), own(name)
    assert set(tensors) == {*published["tensors"], *published["memory"]}
    assert {key: tensors[key] for key in published["tensors"]} == published["tensors"]
    assert BUILDS[name].unused == (), "nothing is left out"


@pytest.mark.parametrize("name", [f"sam2_hiera_{size}_video" for size in SIZES])
def test_the_older_release_lacks_what_the_newer_brought(name):
    newer = own(name.replace("sam2_", "sam2.1_"))
    brought = {key for key in newer if key.startswith(("obj_ptr_tpos_proj.", "no_obj_embed_spatial"))}
    assert len(brought) == 3 and {key: shape for key, shape in newer.items() if key not in brought} == own(name)


@pytest.mark.parametrize("path", sorted(THEIRS.glob("*.json")), ids=lambda path: path.stem)
def test_a_file_of_transformers_loads_strictly(path):
    """Of the model's own sizes, and with all of its tensors: one less is told."""
    names = json.loads(path.read_text())
    counts = {name for name in names if name.endswith(".num_batches_tracked")}
    tensors = {name: torch.zeros(shape, dtype=torch.int64 if name in counts else None) for name, shape in names.items()}
    with torch.device("meta"):
        model = BUILDS[path.stem].module()
    fitted = fit(tensors, model, SAM.reading(path.stem), "ours", path.name)
    assert {key: list(value.shape) for key, value in fitted.state.items()} == own(path.stem)
    del tensors["memory_encoder.projection.bias"]
    with pytest.raises(WeightsError, match="1 missing"):
        fit(tensors, model, SAM.reading(path.stem), "ours", path.name)


def test_every_size_is_tried():
    assert {path.stem for path in THEIRS.glob("*.json")} == {
        *PUBLISHED, *(f"sam2_hiera_{size}_video" for size in SIZES)
    }  # fmt: skip


def test_a_published_file_loads_with_its_memory(tmp_path):
    model = build_model("sam", "micro_edgetam_video")
    state = random_state(model, 5)
    fitted = fit(
        {f"model.{key}": value for key, value in state.items()}, model, SAM.reading("micro_edgetam_video"), "ours", "x"
    )
    assert all(torch.equal(fitted.state[key], value) for key, value in state.items())
