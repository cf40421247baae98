"""A shard is whole or absent, the same rows are the same bytes, and another table is refused."""

from __future__ import annotations

import json

import pytest

from ovdeploy.runtime.batch.manifest import MANIFEST, keep_or_refuse
from ovdeploy.runtime.batch.rows import failed
from ovdeploy.runtime.batch.table import Table, Told
from ovdeploy.runtime.errors import OutputError, PhotoError

pytest.importorskip("pyarrow")


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "table", ("mask", "classes"))


def row(number, **more):
    return {"row": number, "name": f"{number}.png", "height": 2, "width": 3, "warnings": [], "mask": b"m", **more}


ROWS = [row(0, classes=[{"index": 1, "name": "cup", "pixels": 6, "share": 1.0, "mean_score": 0.5}]), row(1),
        failed(2, "2.png", PhotoError("2.png: broken"))]  # fmt: skip


def test_rows_come_back_and_the_shard_says_how_many_failed(table):
    table.write(7, ROWS)
    assert table.told(7) == Told(3, 1) and list(table.done()) == [7]
    first, _, last = table.rows(7)
    assert first["classes"][0]["name"] == "cup" and (last["error_type"], last["mask"]) == ("PhotoError", None)
    assert table.read().column("shard").to_pylist() == [7, 7, 7]


def test_the_order_in_which_rows_came_leaves_no_trace(table):
    table.write(0, ROWS)
    content = table.path(0).read_bytes()
    table.write(0, reversed(ROWS))
    assert table.path(0).read_bytes() == content
    table.write(0, table.rows(0))
    assert table.path(0).read_bytes() == content, "rows that were read and written again, as --retry-failed does"


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_shard_that_is_damaged_counts_as_not_done(table, damage):
    table.write(0, ROWS)
    content = table.path(0).read_bytes()
    table.path(0).write_bytes(content[:-20] if damage is None else damage)
    assert table.told(0) is None


def test_a_shard_under_another_ones_name_counts_as_not_done(table):
    table.write(0, ROWS)
    table.path(0).rename(table.path(1))
    assert table.told(1) is None


def test_other_files_are_no_shards(table):
    table.write(3, ROWS)
    for name in ("shard-1.parquet", "other.parquet", ".shard-00000001.parquet", "shard-00000002.parquet.tmp"):
        (table.folder / name).touch()
    assert list(table.done()) == [3]


def test_a_manifest_is_kept_and_the_same_run_is_taken(tmp_path):
    for _ in range(2):
        keep_or_refuse(tmp_path, {"bundle": "a", "words": ("cup",)})
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


@pytest.mark.parametrize(
    ("more", "told"),
    [({"words": ["mug"]}, "words"), ({"bundle": "b", "words": ["x"]}, "bundle, words"), ({"new": 1}, "new")],
)
def test_a_run_that_differs_is_refused_with_what_differs(more, told, tmp_path):
    ours = {"bundle": "a", "words": ["cup"]}
    keep_or_refuse(tmp_path, ours)
    with pytest.raises(OutputError, match=f"differs in: {told}\\."):
        keep_or_refuse(tmp_path, {**ours, **more})
    assert json.loads((tmp_path / MANIFEST).read_text()) == ours


@pytest.mark.parametrize("content", ["", "{", "[1]", "\udcff"])
def test_a_manifest_that_is_damaged_is_told(content, tmp_path):
    (tmp_path / MANIFEST).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(OutputError, match=MANIFEST):
        keep_or_refuse(tmp_path, {"bundle": "a"})
