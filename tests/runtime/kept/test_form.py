"""The form of kept files: what fits comes back, everything else counts as absent."""

import dataclasses
import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ovdeploy.runtime.kept import mapped, trust
from ovdeploy.runtime.kept.arrays import read_arrays, write_arrays
from ovdeploy.runtime.kept.form import HEAD_BYTES, Form, once
from ovdeploy.runtime.kept.lines import Lines
from ovdeploy.runtime.kept.mapped import read_mapped
from support.damage import cut, flip

FORM = Form("thing", 1, most=1 << 20)
STRANGER = 54321
DTYPES = ["?", "u1", "<u2", ">i4", "<i8", "<f2", "<f4", ">f8"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "thing"


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch):
    monkeypatch.setattr(trust, "_told", set())


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300), key=st.text(), place=st.integers(0, 1 << 20))
def test_content_comes_back_and_no_bit_of_it_can_change(tmp_path_factory, content, key, place):
    path = tmp_path_factory.mktemp("kept") / "thing"
    assert FORM.write(path, key, content[:7], content[7:])
    assert FORM.read(path, key) == content
    assert path.stat().st_size == HEAD_BYTES + len(content)
    flip(place)(path)
    assert FORM.read(path, key) is None
    assert read_mapped(FORM, path, key) is None


def test_every_byte_of_the_head_counts(path):
    FORM.write(path, "key", b"content")
    whole = path.read_bytes()
    for place in range(len(whole)):
        flip(8 * place + place % 8)(path)
        assert FORM.read(path, "key") is None, place
        path.write_bytes(whole)
    assert FORM.read(path, "key") == b"content"


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_is_absent(path, share):
    FORM.write(path, "key", bytes(1000))
    cut(share)(path)
    assert FORM.read(path, "key") is None


def test_a_file_that_has_grown_is_absent(path):
    FORM.write(path, "key", b"content")
    path.write_bytes(path.read_bytes() + b"\0")
    assert FORM.read(path, "key") is None


def test_another_key_kind_or_version_is_another_thing(path):
    FORM.write(path, "key", b"content")
    others = [dataclasses.replace(FORM, kind="other"), dataclasses.replace(FORM, version=2)]
    assert [form.read(path, "key") for form in others] == [None, None]
    assert FORM.read(path, "yek") is None and FORM.read(path, "key") == b"content"


def test_what_is_too_long_is_neither_written_nor_read(path):
    small = dataclasses.replace(FORM, most=3)
    assert not small.write(path, "key", b"four") and not path.exists()
    FORM.write(path, "key", b"four")
    assert small.read(path, "key") is None


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=9), st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_side=4))), max_size=4))  # fmt: skip
def test_arrays_come_back_byte_for_byte(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("kept") / "arrays"
    assert write_arrays(FORM, path, "key", made)
    found = read_arrays(FORM, path, "key")
    assert list(found) == list(made)
    for name, array in made.items():
        other = found[name]
        assert (other.dtype, other.shape, other.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_arrays_of_objects_are_refused_when_they_are_written(path):
    with pytest.raises(TypeError, match="object are not kept"):
        write_arrays(FORM, path, "key", {"a": np.array([{}], object)})


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 7, bytes(8), (9).to_bytes(8, "little") + b"nonsense!", (1 << 62).to_bytes(8, "little") + b"[]",
     (14).to_bytes(8, "little") + b'[["a","O",[1]]]', (15).to_bytes(8, "little") + b'[["a","O",[1]]]' + bytes(99),
     (17).to_bytes(8, "little") + b'[["a","<f4",[9]]]', (17).to_bytes(8, "little") + b'[["a","no!",[9]]]' + bytes(99),
     (2).to_bytes(8, "little") + b"[]" + b"more"],
)  # fmt: skip
def test_whole_content_that_holds_no_arrays_is_absent(path, content):
    """A mistake of the program, since the digest fits."""
    FORM.write(path, "key", content)
    assert read_arrays(FORM, path, "key") is None


def test_a_value_is_made_once_and_again_if_it_is_of_another_type(path):
    made = []

    def make():
        made.append(1)
        return 5

    assert [once(FORM, path, "key", int, make) for _ in range(2)] == [5, 5] and len(made) == 1
    FORM.write(path, "key", b'"text"')
    assert once(FORM, path, "key", int, make) == 5 and len(made) == 2


@pytest.mark.parametrize("on_disk", [True, False])
def test_mapped_content_stands_whatever_happens_to_the_file(path, on_disk, monkeypatch):
    """Cut to nothing while it is mapped, the file itself would end the process (SIGBUS)."""
    if not on_disk:
        monkeypatch.setattr(mapped, "_on_disk", lambda *args: None)
    content = np.random.default_rng(0).bytes(1 << 19)
    FORM.write(path, "key", content)
    found = read_mapped(FORM, path, "key")
    assert [item.name for item in path.parent.iterdir()] == [path.name], "the copy has no name"
    path.write_bytes(b"")
    found.release()
    assert found.array.tobytes() == content and found.array.flags.writeable
    assert (found.array.ctypes.data - HEAD_BYTES * on_disk) % 4096 == 0


def test_without_room_for_a_copy_content_is_read_into_memory(path, monkeypatch):
    FORM.write(path, "key", b"content")
    monkeypatch.setattr(mapped.os, "pwrite", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left")))
    monkeypatch.setattr(mapped.os, "copy_file_range", lambda *args: (_ for _ in ()).throw(OSError(18, "Cross-device")))
    assert read_mapped(FORM, path, "key").array.tobytes() == b"content"


def test_files_that_others_may_write_do_not_count_and_that_is_said_once(path, caplog):
    FORM.write(path, "key", b"content")
    path.chmod(0o666)
    other = path.with_name("other")
    FORM.write(other, "key", b"content")
    other.chmod(0o602)
    assert FORM.read(path, "key") is None and FORM.read(other, "key") is None
    assert len(caplog.records) == 1 and str(path.parent) in caplog.text


def of_a_stranger(path, monkeypatch):
    """The file belongs to another user than the one who reads."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1)
    else:
        monkeypatch.setattr(trust.os, "geteuid", lambda: STRANGER)


def test_files_of_others_do_not_count_and_that_is_said_once(path, caplog, monkeypatch):
    FORM.write(path, "key", b"content")
    of_a_stranger(path, monkeypatch)
    assert [FORM.read(path, "key") for _ in range(2)] == [None, None]
    assert len(caplog.records) == 1 and "neither you nor root" in caplog.text


def test_a_folder_of_others_that_anybody_may_write_to_is_not_used(path, caplog, monkeypatch):
    FORM.write(path, "key", b"content")
    path.parent.chmod(0o777)
    assert FORM.read(path, "key") == b"content", "ours: whatever others put there is theirs"
    of_a_stranger(path.parent, monkeypatch)
    assert FORM.read(path, "key") is None
    assert not FORM.write(path.with_name("new"), "key", b"content")
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_what_is_written_can_be_read_under_any_umask(path):
    before = os.umask(0)
    try:
        FORM.write(path, "key", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert FORM.read(path, "key") == b"content"


def test_a_file_that_may_not_be_read_is_made_anew(path):
    """In a child of another user, since root may read everything."""
    FORM.write(path, "key", b"content")
    for folder in (path.parent, *path.parent.parents[:4]):  # below the folder for temporary files, with workers too
        folder.chmod(folder.stat().st_mode | 0o011)
    path.chmod(0o600 if os.geteuid() == 0 else 0)
    assert as_another_user(lambda: FORM.read(path, "key") is None)
    path.chmod(0o644)
    assert as_another_user(lambda: FORM.read(path, "key") == b"content"), "root's files are trusted, if readable"


def as_another_user(check):
    """Whether a check holds in a child; under another uid, where this process may take one."""
    child = os.fork()
    if not child:
        held = False
        try:
            if os.geteuid() == 0:
                os.setuid(STRANGER)
            held = check()
        finally:
            os._exit(0 if held else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@settings(max_examples=200, deadline=None)
@given(entry=st.sampled_from([b"{}", b'{"a":[1,2.5]}', b'{"photo":"\xc3\xa4"}']), place=st.integers(0, 1 << 20))
def test_no_bit_of_a_line_can_change(entry, place):
    lines = Lines(b"run")
    line = lines.written(entry)
    assert lines.read(line) == entry and Lines(b"other").read(line) is None
    altered = bytearray(line)
    altered[place // 8 % len(line)] ^= 1 << place % 8
    assert lines.read(bytes(altered)) is None
    assert lines.read(line[:-1]) is None and lines.read(b"") is None and lines.read(line + b"\n") is None
