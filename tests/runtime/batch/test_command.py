"""`ovdeploy batch`, from folders, tars and columns to a table, and on again after whatever befell it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends.registry import choose_backend
from ovdeploy.runtime.batch.run import RUNNERS
from ovdeploy.runtime.batch.table import Table
from ovdeploy.runtime.cli.batch import batch
from support.batches import write_tar
from support.samples import draw_photos, random_vocabulary

parquet = pytest.importorskip("pyarrow.parquet")

NAMES = [f"{index}.png" for index in range(7)]
BROKEN = ("2.png", "5.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory, micro_bundle):
    """A folder with seven photos, two of them broken, words, and the table of an undisturbed run."""
    home = tmp_path_factory.mktemp("batch")
    draw_photos(home / "photos", NAMES)
    for name in BROKEN:
        (home / "photos" / name).write_bytes(b"no picture")
    words = random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding)
    words.save(home / "words.npz")
    random_vocabulary(len(words.embeddings[0]), seed=1).save(home / "other.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        call(micro_bundle, "photos", "table", code=1)
    return home


def arguments(bundle, source, folder, *more, words="words.npz"):
    how = ("--bundle", bundle, "--vocabulary", words, "--backend", "onnxruntime", "--threads", 1, "--shard-size", 3)
    return [str(each) for each in (source, folder, *how, *more)]


def call(bundle, source, folder, *more, code=0, **how):
    result = CliRunner().invoke(batch, arguments(bundle, source, folder, *more, **how))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout) if "--json" in more else result.stderr


def shards(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def run(home, micro_bundle, monkeypatch):
    monkeypatch.chdir(home)
    return lambda *given, **how: call(micro_bundle, *given, **how)


def test_every_photo_has_one_row_in_its_place(home):
    rows = Table(home / "table", ("mask", "classes")).read().to_pylist()
    assert [row["name"] for row in rows] == [f"photos/{name}" for name in NAMES]
    assert [(row["shard"], row["row"]) for row in rows] == [(index // 3, index % 3) for index in range(7)]
    assert [Path(row["name"]).name for row in rows if row["error"]] == list(BROKEN)
    assert all((row["mask"] is None) == (row["error"] is not None) for row in rows)


def test_a_row_holds_what_segment_gives(home, ort_segmenter):
    from ovdeploy.runtime import Vocabulary

    row = Table(home / "table", ("mask", "classes")).rows(0)[1]
    result = ort_segmenter.segment(home / row["name"], Vocabulary.load(home / "words.npz"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["mask"]))), result.mask)
    assert sum(each["pixels"] for each in row["classes"]) == row["height"] * row["width"] == result.mask.size
    assert row["classes"] == [each for each in result.to_dict()["classes"] if each["pixels"]]


def test_the_same_command_again_does_nothing_and_opens_no_engine(run, monkeypatch):
    before = shards("table")
    monkeypatch.setitem(RUNNERS, "local", lambda batch, works, *more: [pytest.fail("work") for _ in works])
    told = run("photos", "table", code=1)
    assert "nothing to do: 7 photos were done before, 2 of them failed" in told and shards("table") == before


@pytest.mark.parametrize(
    ("source", "more", "what"),
    [
        ("photos", {"words": "other.npz"}, "words"),
        ("photos/[0-5].png", {}, "photos"),
        ("photos", {"set": "stride=8"}, "parameters"),
        ("photos", {"save": "mask"}, "columns"),
        ("photos", {"shard-size": 4}, "photos"),
    ],
)
def test_another_run_is_refused_and_nothing_changes(source, more, what, run):
    before = shards("table")
    words = {"words": more.pop("words")} if "words" in more else {}
    options = [word for name, value in more.items() for word in (f"--{name}", value)]
    told = run(source, "table", *options, code=1, **words)
    assert f"differs in: {what}." in told and "Traceback" not in told and shards("table") == before


def test_the_parts_of_two_machines_are_the_whole(run):
    assert run("photos", "parts", "--shard", "2/2", "--json", code=1)["photos"] == 3
    assert sorted(path.name for path in Path("parts").glob("shard-*")) == ["shard-00000001.parquet"]
    told = run("photos", "parts", "--shard", "1/2", "--json", code=1)
    assert (told["photos"], told["failed"], told["shards"]) == (4, 1, 2)
    assert shards("parts") == shards("table")


def test_a_tar_and_a_column_give_the_same_masks(run, home):
    write_tar(home / "a.tar", [(name, (home / "photos" / name).read_bytes()) for name in NAMES])
    import pyarrow as pa

    held = [(home / "photos" / name).read_bytes() for name in NAMES]
    parquet.write_table(pa.table({"image": held}), home / "a.parquet", row_group_size=2)
    expected = [row["mask"] for row in Table(home / "table", ("mask", "classes")).read().to_pylist()]
    for source in ("a.tar", "a.parquet"):
        told = run(source, f"of-{source}", "--json", code=1)
        assert told["photos"] == 7 and told["failed"] == 2
        rows = Table(home / f"of-{source}", ("mask", "classes")).read().to_pylist()
        assert [row["mask"] for row in rows] == expected


def test_photos_that_failed_are_tried_again_if_that_is_asked_for_and_only_these(run, home):
    (home / "mended").mkdir()
    for name in NAMES:
        (home / "mended" / name).write_bytes((home / "photos" / name).read_bytes())
    run("mended", "again", "--at-once", 1, code=1)
    good = (home / "mended" / "0.png").read_bytes()
    (home / "mended" / "2.png").write_bytes(good)
    (home / "mended" / "0.png").write_bytes(b"broken now, and not looked at")
    assert run("mended", "again", "--json", code=1)["photos"] == 0
    told = run("mended", "again", "--retry-failed", "--json", code=1)
    assert (told["photos"], told["failed"], told["skipped"], told["shards"]) == (2, 1, 5, 2)
    rows = Table(home / "again", ("mask",)).read().to_pylist()
    assert [Path(row["name"]).name for row in rows if row["error"]] == ["5.png"]
    assert rows[2]["mask"] == rows[0]["mask"] is not None


def test_a_tar_that_is_away_while_photos_are_tried_again_loses_no_row(run, home):
    members = [(name, (home / "photos" / name).read_bytes()) for name in NAMES]
    path = write_tar(home / "away.tar", members)
    whole = path.read_bytes()
    run("away.tar", "away", code=1)
    before = shards("away")
    path.write_bytes(b"\1" * 512 + whole[512:])
    told = run("away.tar", "away", "--retry-failed", "--json", code=1)
    assert (told["photos"], told["failed"], told["skipped"], told["failed_before"]) == (1, 1, 7, 2)
    rows = Table(home / "away", ("mask",)).rows(0)
    assert [row["row"] for row in rows if row["error"]] == [2, 5, 7] and len(rows) == 8
    path.write_bytes(whole)
    told = run("away.tar", "away", "--retry-failed", "--json", code=1)
    assert (told["photos"], told["failed"], told["skipped"]) == (2, 2, 5) and shards("away") == before


def of_batch(home, source, folder, run, monkeypatch, *more, code=0):
    """The batch that a command hands to its runner, and what stands in the manifest then."""
    held = []
    monkeypatch.setitem(RUNNERS, "local", lambda batch, *more: held.append(batch))
    run(source, folder, *more, code=code)
    return held[0], json.loads((home / folder / "_batch.json").read_text())


def test_a_batch_says_what_auto_became_and_no_worker_chooses(run, home, monkeypatch):
    monkeypatch.setattr("ovdeploy.runtime.bundle.fastest.fastest", lambda *_: "int8")
    done, told = of_batch(home, "photos", "auto", run, monkeypatch, "--precision", "auto", "--backend", "auto")
    opening = done.spec().opening
    assert opening["precision"] == told["precision"] == "int8"
    assert opening["backend"] == told["backend"] == choose_backend("auto", "int8") != "auto"


def test_a_table_of_other_versions_is_refused(run, home, monkeypatch):
    _, told = of_batch(home, "photos", "versions", run, monkeypatch)
    assert told["ovdeploy's version"] and all(told["backend's version"].values())
    for what, other in (("ovdeploy's version", "0.0.1"), ("backend's version", {"onnxruntime": "0.0.1"})):
        (home / "versions" / "_batch.json").write_text(json.dumps(told | {what: other}))
        assert f"differs in: {what}." in run("photos", "versions", code=1)


def test_a_table_is_named_from_the_root_since_other_machines_begin_elsewhere(run, home, monkeypatch):
    done, _ = of_batch(home, "photos", "relative", run, monkeypatch)
    assert done.table.folder == home / "relative"


def test_too_many_failures_end_the_run(run):
    assert "2 photos failed, and 1 may" in run("photos", "ended", "--max-failures", 1, code=1)
    assert run("photos", "ended", "--max-failures", 2, "--json", code=1)["photos"] <= 7
    assert shards("ended") == shards("table")


def test_the_summary_counts(run):
    told = run("photos", "counted", "--json", "--save", "instances", code=1)
    assert told["schema"] == "ovdeploy/batch-run/1" and (told["photos"], told["failed"], told["shards"]) == (7, 2, 3)
    assert told["times"]["photos"] == 7 and 0 < told["engine_busy"] <= 1 and told["peak_bytes"] > 10**7
    rows = Table(Path("counted"), ("instances",)).read().to_pylist()
    areas = [sum(each["area"] for each in row["instances"]) for row in rows if not row["error"]]
    assert areas == [40 * 52] * 5, "without a background every pixel is some instance's"


@pytest.mark.parametrize(
    ("more", "what"),
    [(("--save", "msk"), "Did you mean 'mask'"), (("--shard", "0/2"), "2/8"), (("--shard", "3/2"), "2/8"),
     (("--runner", "dask"), "Valid: local, ray")],
)  # fmt: skip
def test_a_wrong_option_is_told(more, what, run):
    assert what in run("photos", "wrong", *more, code=2)


def test_a_run_that_is_killed_goes_on_to_the_same_table(home, micro_bundle, run):
    """The command alone is killed: its workers end by themselves."""
    code = "import sys; from ovdeploy.runtime.cli.batch import batch; batch(sys.argv[1:])"
    words = [sys.executable, "-c", code, *arguments(micro_bundle, "photos", "killed", "--at-once", 1)]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=home)
    deadline = time.monotonic() + 600
    while not list(home.glob("killed/shard-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    run("photos", "killed", code=1)
    assert shards("killed") == shards("table")


def test_two_runs_of_the_same_part_do_not_meet(run, home):
    from ovdeploy.runtime.bundle.locks import locked

    with locked(home / "table" / "part-1-of-1", "ovdeploy batch"):
        assert "is being written by ovdeploy batch" in run("photos", "table", code=1)
