"""Where bundles lie, and how one is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovdeploy.runtime.bundle.bundle import MANIFEST
from ovdeploy.runtime.bundle.places import Place, holds_other_files, is_bundle, place_of
from ovdeploy.runtime.errors import ParameterError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a manifest."""
    place = tmp_path / "some@home"
    place.mkdir()
    (place / MANIFEST).touch()
    return place


def test_a_bundle_is_named_by_its_folder_and_its_precision(folder):
    assert place_of(str(folder), ()) == Place(folder, "")
    assert place_of(f"{folder}@fp16", ()) == Place(folder, "fp16")


@pytest.mark.parametrize("name", ["torhc", "", "@", "@fp16", "nowhere@fp16", "some"])
def test_no_other_name_is_a_bundle_even_within_one(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    with pytest.raises(ParameterError, match=r"Valid: torch.*FOLDER@PRECISION"):
        place_of(name, ("torch",))


def test_folders_are_told_from_bundles(folder, tmp_path):
    assert is_bundle(folder)
    assert not holds_other_files(folder), "an export may take its place"
    assert holds_other_files(tmp_path)
    assert not holds_other_files(tmp_path / "none")
    assert not is_bundle(tmp_path)
