"""Paths that users name: whatever they lead to is answered at once, by the error that the reader asked for."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from ovdeploy.runtime import Vocabulary, load_parameters, load_photo, load_recipe
from ovdeploy.runtime.boundary.reading import is_file, is_folder, is_there, listed, read_bytes, to_json, why_no_file
from ovdeploy.runtime.datasets import load_spec
from ovdeploy.runtime.errors import FileError, OvdeployError, PhotoError
from ovdeploy.runtime.files import atomic_path, cache_root, write_bytes
from ovdeploy.runtime.words.tokenizer import ClipTokenizer
from support.vile.values import paths

READERS = {
    "photo": load_photo,
    "recipe": load_recipe,
    "parameters": load_parameters,
    "dataset": load_spec,
    "vocabulary": Vocabulary.load,
    "tokenizer": lambda path: ClipTokenizer(path, 77),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_path_hangs_or_lets_the_systems_error_out(reader, tmp_path):
    for name, make in paths(tmp_path / "paths").items():
        if "list" in name or "bytes" in name:
            continue
        start = time.perf_counter()
        with pytest.raises(OvdeployError):
            READERS[reader](make())
        assert time.perf_counter() - start < 5, name


def test_asking_about_a_path_never_raises(tmp_path):
    for name, make in paths(tmp_path / "paths").items():
        if "list" not in name:
            found = (is_file(make()), is_folder(make()), is_there(make()))
            assert not (found[0] and found[1]) and (found[0] == (why_no_file(make()) == "")), name


def test_a_device_without_end_is_not_read(tmp_path):
    with pytest.raises(PhotoError, match="a device"):
        read_bytes("/dev/zero", PhotoError, "the photo")


def test_a_file_above_the_bound_is_refused_with_the_bound(tmp_path):
    (tmp_path / "large").write_bytes(bytes(101))
    with pytest.raises(PhotoError, match="larger than 100 bytes"):
        read_bytes(tmp_path / "large", PhotoError, "the photo", most=100)
    assert read_bytes(tmp_path / "large", PhotoError, "the photo", most=101) == bytes(101)


@pytest.mark.parametrize(
    "text", ["a" + ".a" * 60_000 + " = 1", "x = " + "[" * 10**5, "x = " + "9" * 5000, "#" * 30_000_000]
)
def test_toml_that_would_take_hours_is_refused_in_seconds(tmp_path, text):
    (tmp_path / "p.toml").write_text(text)
    start = time.perf_counter()
    with pytest.raises(OvdeployError):
        load_parameters(tmp_path / "p.toml")
    assert time.perf_counter() - start < 5


def test_a_folder_that_cannot_be_listed_is_the_error_asked_for(tmp_path):
    with pytest.raises(PhotoError, match="cannot be read"):
        listed(tmp_path / "missing", PhotoError)


def test_nothing_is_written_in_the_place_of_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(FileError, match="cannot be written"):
            write_bytes(path, b"x")
    assert os.path.exists(tmp_path / "fifo") and not is_file(tmp_path / "fifo")


def test_what_the_system_refuses_to_write_is_our_error_with_its_number(tmp_path):
    with pytest.raises(FileError, match="too long") as caught, atomic_path(tmp_path / ("n" * 300)):
        pass
    assert caught.value.errno == 36 and isinstance(caught.value, OSError)
    with pytest.raises(FileError, match=r"NUL|null"):
        write_bytes(f"{tmp_path}/a\0b", b"x")


def test_json_keeps_the_bytes_of_a_name_that_is_no_utf8():
    name = os.fsdecode(b"photo\xff.png")
    for indent in (None, 1):
        told = to_json({"image": name}, indent=indent)
        assert os.fsencode(json.loads(told)["image"]) == b"photo\xff.png"
    assert to_json({"image": "é"}) == '{"image":"é"}'.encode()


def test_without_a_home_there_is_a_cache_all_the_same(monkeypatch):
    for variable in ("HOME", "XDG_CACHE_HOME", "OVDEPLOY_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_root().is_absolute() and str(os.getuid()) in str(cache_root())
    monkeypatch.setenv("OVDEPLOY_CACHE", "/somewhere")
    assert str(cache_root()) == "/somewhere"


def test_an_array_that_says_to_be_larger_than_its_file_is_not_allocated(tmp_path):
    vocabulary = Vocabulary(["a"], np.ones((1, 4), np.float32))
    vocabulary.save(tmp_path / "v.npz")
    from support.vile.formats import _vast

    (tmp_path / "vast.npz").write_bytes(_vast((tmp_path / "v.npz").read_bytes()))
    with pytest.raises(OvdeployError):
        Vocabulary.load(tmp_path / "vast.npz")
