import json
import sys
from importlib.util import find_spec

import pytest

from ovdeploy.runtime import MissingExtraError, ParameterError
from ovdeploy.runtime.answers import KINDS, paths_of, save_as
from support.answers import random_result


def here(kind):
    return not KINDS[kind].package or find_spec(KINDS[kind].package) is not None


HERE = [kind for kind in KINDS if here(kind)]


@pytest.mark.parametrize("kind", HERE)
def test_a_kind_writes_the_files_that_it_names_and_no_others(tmp_path, kind):
    written = save_as(random_result(), [kind], tmp_path / "a.b")
    assert written == paths_of(kind, tmp_path / "a.b")
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_no_two_kinds_write_to_one_file():
    suffixes = [suffix for kind in KINDS.values() for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(kind.holds for kind in KINDS.values())


@pytest.mark.parametrize("kind", HERE)
def test_every_json_says_of_what_form_photo_and_bundle_it_is(tmp_path, kind):
    for path in save_as(random_result(path="photos/a.jpg", bundle="ab12"), [kind], tmp_path / "a"):
        if path.suffix == ".json":
            text = path.read_text()
            assert "photos/a.jpg" in text and "ab12" in text and '"ovdeploy/' in text, path
            json.loads(text)


def test_an_unknown_kind_is_answered_before_anything_is_written(tmp_path):
    with pytest.raises(ParameterError, match="Did you mean 'mask'"):
        save_as(random_result(), ["json", "masks"], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"ovdeploy\[table\]"):
        save_as(random_result(), ["json", "table"], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"ovdeploy\[supervision\]"):
        random_result().to_detections()
