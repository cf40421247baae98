"""Photos as people name them: files, folders, globs, lists, standard input."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime.answers.kinds import KINDS
from ovdeploy.runtime.errors import ParameterError, PhotoError
from ovdeploy.runtime.photo.decoding import FORMATS, SUFFIXES
from ovdeploy.runtime.photo.reading import load_photo
from ovdeploy.runtime.photo.sources import RESULTS, Source, below, expand, sources
from support.other_user import as_nobody, open_to_all


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p/b.JPG", "p/a.png", "p/sub/c.TiFf", "p/sub/deep/d.webp", "p/a/z.png", "p/.hidden/e.png", "p/.f.png",
                 "p/notes.txt", "p/a.mask.png", "p/sub/c.overlay.png", "empty/nothing.txt"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def found(*images, **how):
    return [(name, place) for name, place in sources(images, **how)]


def places(*images, **how):
    return [place for _, place in found(*images, **how)]


def test_a_folder_is_walked_and_its_tree_is_kept(tree):
    assert places("p") == ["a.png", "b.JPG", "a/z.png", "sub/c.TiFf", "sub/deep/d.webp"]
    assert [name for name, _ in found("p/")] == [f"p/{place}" for place in places("p")]
    assert places("p", recursive=False) == ["a.png", "b.JPG"]
    assert [str(path) for path in expand(["p"])] == [name for name, _ in found("p")]


def test_a_folder_without_photos_stands_for_itself(tree):
    assert found("empty") == [("empty", "empty")]
    with pytest.raises(PhotoError, match="empty: no photos in this folder"):
        load_photo("empty")


def test_links_that_go_round_are_walked_once(tree):
    (tree / "p" / "sub" / "up").symlink_to(tree / "p")
    (tree / "p" / "again").symlink_to(tree / "p" / "sub" / "deep")
    (tree / "p" / "nowhere.png").symlink_to(tree / "missing")
    assert places("p") == ["a.png", "b.JPG", "nowhere.png", "a/z.png", "again/d.webp", "sub/c.TiFf"]


def test_a_folder_that_cannot_be_read_is_told_with_the_reason(tree):
    code = """
def run():
    for name, _ in sources([sys.argv[1]]):
        try:
            load_photo(name)
        except Exception as error:
            print(error)
"""
    open_to_all(tree / "p" / "sub")
    (tree / "p" / "sub").chmod(0)
    told = as_nobody("import sys\nfrom ovdeploy.runtime import load_photo\n"
                     "from ovdeploy.runtime.photo.sources import sources\n" + code, "run()", tree / "p")  # fmt: skip
    (tree / "p" / "sub").chmod(0o755)
    assert "sub: the folder cannot be read (Permission denied)" in told, "what lies there is not passed over in silence"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p/*.png", ["a.mask.png", "a.png"]),
        ("p/s*", ["c.TiFf", "deep/d.webp"]),
        ("p/**/*.webp", ["d.webp"]),
        ("p/**", ["a.mask.png", "a.png", "b.JPG", "notes.txt", "c.TiFf", "c.overlay.png", "d.webp", "z.png"]),
        ("nothing*", ["nothing*"]),
        ("[", ["["]),
    ],
)
def test_globs_give_files_by_their_names_and_folders_with_their_trees(tree, pattern, expected):
    assert sorted(places(pattern)) == sorted(expected)


ODD = [
    "a\nb.png",
    " a .png",
    "-a.png",
    "@a.png",
    "a\udcff.png",
    "[a].png",
    "*.png",
    "\u202ea.png",
    "a%20b.png",
    "'.png",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_taken_as_they_are(tree, name):
    (tree / "odd").mkdir()
    for path in (tree / "odd" / name, tree / name):
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(os.fsencode(path).decode("utf-8", "surrogateescape"), "PNG")
    assert found("odd") == [(f"odd/{name}", name)]
    assert found(name) == [(name, name)]
    zero = io.BytesIO(os.fsencode(f"odd/{name}") + b"\0" + os.fsencode(name) + b"\0")
    assert [each for each, _ in found("-", stdin=zero)] == [f"odd/{name}", name]
    assert load_photo(found("odd")[0][0]).shape == (4, 5, 3)


def test_a_list_has_one_name_a_line(tree):
    (tree / "list.txt").write_bytes(b"p/a.png\r\n\n  odd name.png\np/sub\r\nmissing.jpg\n*.png\np/b.JPG")
    expected = ["p/a.png", "  odd name.png", "p/sub/c.TiFf", "p/sub/deep/d.webp", "missing.jpg", "*.png", "p/b.JPG"]
    assert [name for name, _ in found("@list.txt")] == expected
    assert [name for name, _ in found("-", stdin=io.BytesIO((tree / "list.txt").read_bytes()))] == expected
    assert places("@list.txt", recursive=False)[2] == "c.TiFf"


@pytest.mark.parametrize("count", [0, 1, 5000, 70_000])
def test_a_list_of_any_length_is_read_in_pieces(count):
    names = [f"folder/{index:07}.jpg" for index in range(count)]
    for end, last in ((b"\n", b""), (b"\n", b"\n"), (b"\0", b""), (b"\r\n", b"\r\n")):
        given = io.BytesIO(end.join(name.encode() for name in names) + last * bool(count))
        assert [name for name, _ in sources(["-"], stdin=given)] == names or (end == b"\0" and count == 1)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "the list of photos cannot be read"), (b"x" * 70_000, "no photo's name")]
)
def test_a_list_that_is_none_is_refused(tree, content, told):
    if content is not None:
        (tree / "list").write_bytes(content)
    with pytest.raises(PhotoError, match=told):
        found("@list")


def test_a_photo_behind_an_at_sign_is_told(tree):
    with pytest.raises(PhotoError, match="leave the @ away"):
        found("@p/a.png")


def test_a_list_that_is_no_file_does_not_wait(tree):
    os.mkfifo(tree / "fifo")
    with pytest.raises(PhotoError, match="FIFO"):
        found("@fifo")


def test_standard_input_is_this_process_s(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.png\n")))
    assert found("-") == [("a.png", "a.png")]


def test_places_may_be_relative_to_a_folder(tree):
    given = [Source("p/sub/c.TiFf", "c.TiFf"), Source("./p/../p/a.png", "a.png"), Source("https://a/b.png", "b.png")]
    assert [place for _, place in below(given, "p")] == ["sub/c.TiFf", "a.png", "b.png"]
    with pytest.raises(ParameterError, match="does not lie below"):
        list(below([Source("empty/a.png", "a.png")], "p"))


def test_pictures_of_ours_are_no_photos():
    written = {suffix for kind in KINDS.values() for suffix in kind.suffixes}
    assert {suffix for suffix in written if suffix.endswith(SUFFIXES)} <= set(RESULTS)


def test_every_suffix_of_the_formats_that_are_read_is_looked_for():
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert known - {".pfm"} <= set(SUFFIXES), "PFM alone holds floating-point numbers, which are refused"
    assert not set(SUFFIXES) - known - {".avif", ".avifs"}, "older Pillows lack AVIF"
