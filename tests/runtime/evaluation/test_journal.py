"""The journal: what is done stays done, whatever happens to the process or the file."""

import os

import pytest

from ovdeploy.runtime import ParameterError
from ovdeploy.runtime.evaluation.journal import JOURNAL, Entry, Journal, Measured, column_name
from support.damage import put_in_place

ENTRIES = [
    Entry(
        photo="a/b",
        measured=[
            Measured(predictor="bundle", kind="coarse", cells=[(0, 1, 5)], boundary={3: 0.25}, agreement={"t": 4})
        ],
        milliseconds={"bundle": 1.5},
    ),
    Entry(photo="c", error="c.jpg: no such photo"),
    Entry(photo="d", measured=[Measured(predictor="colour", kind="colour", cells=[], boundary={})]),
]


def write(folder, entries=ENTRIES, **options):
    with Journal(folder, {"a": (1, 2)}, **options) as journal:
        for entry in entries:
            journal.add(entry)
    return folder / JOURNAL


def read(folder, identity=None, **options):
    with Journal(folder, identity or {"a": (1, 2)}, **options) as journal:
        return list(journal.entries()), journal.done


def test_entries_come_back_and_failed_photos_are_not_done(tmp_path):
    write(tmp_path)
    assert read(tmp_path) == (ENTRIES, {"a/b", "d"})


def test_an_entry_is_on_disk_before_the_journal_is_closed(tmp_path):
    with Journal(tmp_path, {}) as journal:
        journal.add(ENTRIES[0])
        assert (tmp_path / JOURNAL).read_bytes().endswith(b"}\n")
        assert journal.done == {"a/b"}


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_dropped_and_written_anew(tmp_path, cut):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert read(tmp_path) == (ENTRIES[:2], {"a/b"})
    write(tmp_path, ENTRIES[2:])
    assert read(tmp_path) == (ENTRIES, {"a/b", "d"})


def test_a_file_of_one_torn_line_is_empty(tmp_path):
    path = write(tmp_path, ENTRIES[:1])
    path.write_bytes(path.read_bytes()[:10])
    assert read(tmp_path) == ([], set())


def test_a_damaged_line_costs_its_photo_alone(tmp_path):
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b'{"photo":"a/\xff' + lines[0][8:], *lines[1:]]))
    assert read(tmp_path) == (ENTRIES[1:], {"d"})


def test_another_run_is_refused_with_what_differs_and_left_alone(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()
    for identity, told in [({"a": (1, 3)}, "differs in: a"), ({"a": (1, 2), "b": 0}, "differs in: b"), ({}, "a")]:
        with pytest.raises(ParameterError, match=told):
            Journal(tmp_path, identity)
    assert path.read_bytes() == before
    assert read(tmp_path)[0] == ENTRIES


@pytest.mark.parametrize("description", ["{", "[]", "null", "\xff", "[" * 100_000, '{"a":[1,3]}'])
def test_a_description_that_was_damaged_is_written_anew_since_the_lines_say_whose_they_are(tmp_path, description):
    write(tmp_path)
    whole = (tmp_path / "run.json").read_bytes()
    (tmp_path / "run.json").write_text(description)
    assert read(tmp_path)[0] == ENTRIES
    assert (tmp_path / "run.json").read_bytes() == whole


def test_where_neither_lines_nor_description_are_ours_the_folder_is_refused(tmp_path):
    path = write(tmp_path)
    path.write_bytes(b"x" * 80)
    for description in ("{", "[]", '{"a":[1,3]}'):
        (tmp_path / "run.json").write_text(description)
        with pytest.raises(ParameterError, match="another evaluation"):
            read(tmp_path)
    assert path.read_bytes() == b"x" * 80


def test_lines_of_another_run_do_not_count(tmp_path):
    """Copied into ours, they are whole, and yet not ours."""
    path = write(tmp_path)
    with Journal(tmp_path / "other", {"a": 5}) as other:
        other.add(Entry(photo="e"))
    path.write_bytes(path.read_bytes() + (tmp_path / "other" / JOURNAL).read_bytes())
    assert read(tmp_path) == (ENTRIES, {"a/b", "d"})


def test_lines_that_do_not_fit_are_told_once_and_gone(tmp_path, caplog):
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0].replace(b'"cells":[[0,1,5]]', b'"cells":[[0,1,6]]') + lines[1][:20] + b"\n" + lines[2])
    assert read(tmp_path) == (ENTRIES[2:], {"d"})
    assert "of another form: 2" in caplog.text
    caplog.clear()
    assert read(tmp_path) == (ENTRIES[2:], {"d"}) and not caplog.text


def test_a_line_that_is_lost_while_the_journal_is_open_is_told(tmp_path, caplog):
    with Journal(tmp_path, {}) as journal:
        for entry in ENTRIES:
            journal.add(entry)
        assert journal.lost() == set()
        os.truncate(tmp_path / JOURNAL, 100)
        assert journal.lost() == {"a/b", "d"} and journal.done == set()
    assert "2 photos are done again" in caplog.text


def test_entries_come_in_the_order_that_is_asked_for(tmp_path):
    write(tmp_path)
    with Journal(tmp_path, {"a": (1, 2)}) as journal:
        journal.add(Entry(photo="c"))
        assert [entry.photo for entry in journal.entries_of(["d", "none", "c", "a/b"])] == ["d", "c", "c", "a/b"]


@pytest.mark.parametrize("there", ["pipe", "folder", "loop"])
@pytest.mark.parametrize("name", [JOURNAL, "run.json"])
def test_what_is_no_file_is_refused_at_once(tmp_path, there, name):
    put_in_place(tmp_path / name, there)
    if name == JOURNAL or there != "loop":
        with pytest.raises(ParameterError, match="another --output"):
            Journal(tmp_path, {})
    else:
        Journal(tmp_path, {}).__exit__(None, None, None)
        assert (tmp_path / name).is_file()


def test_restart_begins_anew(tmp_path):
    write(tmp_path)
    assert read(tmp_path, {"a": "other"}, restart=True) == ([], set())
    assert read(tmp_path, {"a": "other"}) == ([], set())


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    with Journal(tmp_path, {}), pytest.raises(ParameterError, match="another evaluation is writing"):
        Journal(tmp_path, {}, restart=True)
    Journal(tmp_path, {}).__exit__(None, None, None)


def test_columns_have_names_that_tell_whose_they_are():
    assert column_name("bundle", "coarse") == "coarse"
    assert column_name("torch", "coarse") == "torch coarse"
    assert column_name("colour", "colour") == "colour"
