"""DuckDB and pyarrow read the table, with the same rows. Ray's own reader is tried in with_ray.py."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.clusters import call
from support.samples import draw_photos

NAMES = [f"{index}.png" for index in range(20)]


@pytest.fixture(scope="module")
def table(tmp_path_factory, micro_bundle) -> Path:
    """Twenty photos, one in twenty of them broken."""
    folder = tmp_path_factory.mktemp("readers")
    draw_photos(folder / "photos", NAMES)
    (folder / "photos" / "7.png").write_bytes(b"no picture")
    told = call(micro_bundle, folder / "photos", folder / "table", "--shard-size", 6, "--save",
                "mask,classes,instances", code=1)  # fmt: skip
    assert (told["photos"], told["failed"]) == (20, 1)
    return folder / "table"


def test_duckdb(table):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.read_parquet(f"{table}/*.parquet")
    rows = found.order("shard, row").project("name, error").fetchall()
    assert sorted(Path(name).name for name, _ in rows) == sorted(NAMES)
    assert [Path(name).name for name, error in rows if error] == ["7.png"]
    pixels = duckdb.sql("SELECT sum(c.pixels) FROM found, unnest(classes) AS t(c) WHERE error IS NULL").fetchall()
    assert pixels == [(19 * 40 * 52,)]


def test_pyarrow(table):
    from pyarrow import dataset

    found = dataset.dataset(table).to_table().to_pylist()
    assert len(found) == 20 and all(row["mask"] for row in found if not row["error"])
    row = next(row for row in found if not row["error"])
    mask = np.asarray(Image.open(io.BytesIO(row["mask"])))
    assert {each["index"]: each["pixels"] for each in row["classes"]} == dict(
        zip(*(values.tolist() for values in np.unique(mask, return_counts=True)), strict=True)
    )
