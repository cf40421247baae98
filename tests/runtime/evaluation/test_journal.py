"""The journal: what is done stays done, whatever happens to the process or the file."""

import pytest

from ovdeploy.runtime import ParameterError
from ovdeploy.runtime.evaluation.journal import JOURNAL, Entry, Journal, Measured, column_name

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


def test_a_folder_that_has_lost_its_description_is_refused_too(tmp_path):
    write(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ParameterError, match="another evaluation"):
        read(tmp_path)


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
