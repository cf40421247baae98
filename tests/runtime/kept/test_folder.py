"""Folders that a library fills by itself: it never sees a file that is not as it was left."""

import pytest

from ovdeploy.runtime.kept.folder import SUMS, KeptFolder
from ovdeploy.runtime.kept.form import Form
from support.damage import in_place_of_files, some

FORM = Form("library", 1, most=1 << 20)
FILES = {"a.engine": b"x" * 500, "b.timing": b"y" * 90}


def filled(path, key="key"):
    folder = KeptFolder(FORM, path, key)
    assert folder.prepare()
    for name, content in FILES.items():
        (path / name).write_bytes(content)
    folder.seal()
    return folder


def contents(path):
    return {item.name: item.read_bytes() for item in path.iterdir() if item.name != SUMS}


def test_what_was_sealed_stays_and_what_came_later_goes(tmp_path):
    folder = filled(tmp_path / "folder")
    assert folder.prepare() and contents(folder.path) == FILES
    (folder.path / "c.engine").write_bytes(b"not sealed: the process was killed")
    (folder.path / "d").mkdir()
    assert folder.prepare() and contents(folder.path) == FILES


def test_no_damaged_file_is_left(tmp_path):
    for index, (_, damage) in enumerate(some(60)):
        folder = filled(tmp_path / str(index))
        damage(folder.path / "a.engine")
        assert folder.prepare()
        assert contents(folder.path).get("a.engine", FILES["a.engine"]) == FILES["a.engine"]
        assert contents(folder.path)["b.timing"] == FILES["b.timing"]


@pytest.mark.parametrize("kind", in_place_of_files())
@pytest.mark.parametrize("name", ["a.engine", SUMS])
def test_what_is_no_file_is_removed(tmp_path, kind, name):
    folder = filled(tmp_path / "folder")
    in_place_of_files()[kind](folder.path / name)
    assert folder.prepare()
    assert contents(folder.path) == ({} if name == SUMS else {"b.timing": FILES["b.timing"]})


def test_without_digests_or_with_those_of_another_key_nothing_counts(tmp_path):
    folder = filled(tmp_path / "folder")
    assert KeptFolder(FORM, folder.path, "other").prepare() and contents(folder.path) == {}
    folder = filled(tmp_path / "second")
    (folder.path / SUMS).unlink()
    assert folder.prepare() and contents(folder.path) == {}


def test_where_there_can_be_no_folder_the_library_does_without(tmp_path, caplog):
    (tmp_path / "file").write_text("where a folder should be")
    assert not KeptFolder(FORM, tmp_path / "file" / "folder", "key").prepare()
    assert "takes time" in caplog.text
