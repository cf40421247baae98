"""Bundles of earlier schemas: their manifests are frozen here, their engines are made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.runtime import Bundle, BundleError, Segmenter
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from ovdeploy.runtime.bundle.migration import SCHEMA_VERSION, SEALED_SINCE, STEPS
from ovdeploy.runtime.bundle.seal import sealed
from support.bundles import engine_file

SCHEMAS = Path(__file__).parent / "schemas"


def rewrite(folder: Path, data: dict) -> None:
    """Write a manifest of any version: since the third with its digest."""
    (folder / "bundle.json").write_text(json.dumps(sealed(data) if data["schema_version"] >= SEALED_SINCE else data))


@pytest.fixture(params=sorted(path.stem for path in SCHEMAS.glob("*.json")))
def old_bundle(request, micro_bundle, tmp_path) -> Path:
    """A bundle of `micro` as an earlier version wrote it: its manifest, with the hashes of the engines made today."""
    folder = shutil.copytree(micro_bundle, tmp_path / "old")
    data = json.loads((SCHEMAS / f"{request.param}.json").read_text())
    assert data["schema_version"] == int(request.param)

    def entry(name: str) -> dict:
        return msgspec.to_builtins(file_entry(folder / name))

    for stage, told in data["stages"].items():
        told["engines"]["fp32"]["files"] = [entry(engine_file(micro_bundle, stage).name)]
    tokenizer = Bundle.load(micro_bundle).tokenizer_path().name
    (data if request.param == "1" else data["text"])["tokenizer"] = entry(tokenizer)
    rewrite(folder, data)
    return folder


def test_every_version_has_a_frozen_manifest_and_a_step_to_the_next():
    assert sorted(int(path.stem) for path in SCHEMAS.glob("*.json")) == list(range(1, SCHEMA_VERSION + 1))
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))


def test_an_old_bundle_is_read_as_one_of_today(old_bundle, micro_bundle):
    old, new = Bundle.load(old_bundle).manifest, Bundle.load(micro_bundle).manifest
    assert old.schema_version == SCHEMA_VERSION
    as_written = msgspec.structs.replace(old.recipe, int8=new.recipe.int8)  # settings that hold are written out
    assert as_written == new.recipe and old.dimensions == new.dimensions and old.text == new.text
    assert {name: stage.contract for name, stage in old.stages.items()} == {
        name: stage.contract for name, stage in new.stages.items()
    }


def test_an_old_bundle_runs_to_the_same_mask(old_bundle, segmenter, vocabulary, photo):
    expected = segmenter.segment(photo, vocabulary)
    with Segmenter.load(old_bundle) as opened:
        assert opened.segment(photo, vocabulary).mask.tobytes() == expected.mask.tobytes()
        words = opened.vocabulary(["cup; mug", "table"])
    np.testing.assert_array_equal(words.embeddings, segmenter.vocabulary(["cup; mug", "table"]).embeddings)


def test_a_calibration_of_an_old_bundle_survives_the_next_export(old_bundle, micro_networks, tmp_path):
    """Fingerprints of an earlier version are no longer ours: all is exported again, and comes out the same."""
    told = {
        "photos": 4,
        "photos_sha256": "0",
        "settings": {},
        "stages": {"dino": {"precision": "int8"}},
        "gate": {"photos": 2, "labels": 0.99, "worst": 0.98},
    }
    data = json.loads((old_bundle / "bundle.json").read_text())
    (old_bundle / "dino.int8.onnx").write_bytes(b"8 bits")
    made = msgspec.to_builtins(file_entry(old_bundle / "dino.int8.onnx"))
    engines = data["stages"]["dino"]["engines"]
    source = engines["fp32"]["fingerprint"]
    engines["int8"] = {"files": [made], "fingerprint": "x", "source": source, "census": engines["fp32"]["census"]}
    data["calibration"] = told
    rewrite(old_bundle, data)
    manifest = build_bundle(micro_networks, old_bundle)
    assert manifest.calibration is not None and manifest.calibration.photos == 4
    kept = Bundle.load(old_bundle).stage("dino").engines
    assert set(kept) == {"fp32", "int8"} and kept["int8"].source == kept["fp32"].fingerprint


def test_a_manifest_of_an_old_schema_is_as_strict(old_bundle):
    data = json.loads((old_bundle / "bundle.json").read_text())
    for change in ({"future": 1}, {"recipe": None}, {"stages": None}, {"stages": {"head": 1}}, {"dimensions": []}):
        rewrite(old_bundle, data | change)
        with pytest.raises(BundleError, match="cannot be read"):
            Bundle.load(old_bundle)


def test_what_is_written_is_of_today(old_bundle, tmp_path):
    write_manifest(tmp_path, Bundle.load(old_bundle).manifest)
    assert json.loads((tmp_path / "bundle.json").read_text())["schema_version"] == SCHEMA_VERSION
    assert Bundle.load(tmp_path).manifest == Bundle.load(old_bundle).manifest
