"""The same command again does only what is not done, whatever befell the run before, the record or the results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.bundle.bundle import write_manifest
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.cli.record import RECORD, Record
from ovdeploy.runtime.errors import BusyError
from ovdeploy.runtime.photo.stored import StoredPhoto
from support.samples import draw_photo, draw_photos, random_vocabulary

PLACES = ["a.png", "b.jpg", "sub/a.png", "sub/deep/c.png"]


@pytest.fixture
def run(tmp_path, micro_bundle, monkeypatch):
    """Runs `segment photos` with some more options, and says what it told last."""
    monkeypatch.chdir(tmp_path)
    draw_photos("photos", PLACES)
    random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding).save("words.npz")
    random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding, seed=1).save("other.npz")

    def call(*more, images=("photos",), bundle=micro_bundle, words="words.npz", code=0):
        given_options = ("--bundle", bundle, "--vocabulary", words, "--output", "out", "--backend", "onnxruntime")
        result = CliRunner().invoke(main, [str(each) for each in ("segment", *images, *given_options, *more)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.stderr
        call.stderr = result.stderr
        return result.stderr.splitlines()[-1] if "--json" not in more else result.stdout

    def told(*more, **how):
        assert call(*more, **how) == "4 of 4 photos segmented, in out"
        return call.stderr

    call.told = told
    return call


def results():
    return {
        str(path.relative_to("out")): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in Path("out").rglob("*.*")
        if path.name != RECORD
    }


def test_results_lie_as_photos_do_and_the_second_run_does_nothing(run):
    assert run() == "4 of 4 photos segmented, in out"
    before = results()
    names = ["a", "b", "sub/a", "sub/deep/c"]
    assert sorted(before) == sorted(f"{name}.{kind}" for name in names for kind in ("json", "mask.png", "overlay.png"))
    again = run()
    assert run.stderr.splitlines() == [again], "nothing else is said"
    assert again.startswith("nothing to do: all 4 photos were done before") and "--overwrite" in again
    assert results() == before
    assert run("--overwrite") == "4 of 4 photos segmented, in out"
    assert all(results()[name] != before[name] for name in before)


def test_nothing_is_opened_where_nothing_is_to_be_done(run, monkeypatch):
    run()
    monkeypatch.setattr("ovdeploy.runtime.cli.segmenting.Segmenter.load", None)
    assert run().startswith("nothing to do")


def test_lines_of_photos_that_were_done_say_what_their_files_say(run):
    first = [json.loads(line) for line in run("--json").splitlines()]
    again = [json.loads(line) for line in run("--json").splitlines()]
    assert again == [{**line, "skipped": True} for line in first]
    masks = [json.loads(line) for line in run("--json", "--save", "mask").splitlines()]
    assert masks == [{"image": line["image"], "output": line["output"], "skipped": True} for line in first]


def touched():
    os.utime("photos/a.png", ns=(1, 1))


def copied():
    shutil.move("photos", "moved")
    shutil.copytree("moved", "photos")


@pytest.mark.parametrize("change", [touched, copied])
def test_content_decides_not_times(run, change):
    run()
    change()
    assert run().startswith("nothing to do")
    lines = Path("out", RECORD).read_bytes().count(b"\n")
    assert run().startswith("nothing to do") and Path("out", RECORD).read_bytes().count(b"\n") == lines


def other_content():
    Image.fromarray(draw_photo((40, 52), 9)).save("photos/a.png")


def other_content_of_the_same_size_and_time():
    state, data = os.stat("photos/b.jpg"), Path("photos/b.jpg").read_bytes()
    changed = data.replace(data[-40:-30], bytes(10))
    Path("photos/b.jpg").write_bytes(changed)
    os.utime("photos/b.jpg", ns=(state.st_atime_ns, state.st_mtime_ns))


def missing_result():
    Path("out/sub/a.mask.png").unlink()


def cut_result():
    Path("out/a.overlay.png").write_bytes(b"")


def one_more():
    Image.fromarray(draw_photo((40, 52), 9)).save("photos/new.png")


@pytest.mark.parametrize(
    "change", [other_content, other_content_of_the_same_size_and_time, missing_result, cut_result, one_more]
)
def test_what_changed_is_done_again_and_nothing_else(run, change):
    run()
    change()
    before = results()
    told = run()
    assert told.startswith("1 of ") and "were done before" in told
    assert len([name for name in results() if results()[name] != before.get(name)]) == 3
    assert run().startswith("nothing to do")


def other_bundle(bundle):
    place = Path(shutil.copytree(bundle, "bundle"))
    write_manifest(place, msgspec.structs.replace(Bundle.load(place).manifest, versions={"other": "1"}))
    return {"bundle": place}


@pytest.mark.parametrize(
    ("more", "how", "told"),
    [
        (("--set", "stride=32"), {}, "parameters"),
        (("--background",), {}, "words"),
        (("--backend", "openvino"), {}, "backend"),
        ((), {"words": "other.npz"}, "words"),
        ((), "bundle", "bundle"),
    ],
)
def test_results_that_depend_on_something_else_are_made_anew(run, more, how, told, micro_bundle):
    run()
    how = other_bundle(micro_bundle) if how == "bundle" else how
    assert f"results that differ in: {told}; they are made anew" in run.told(*more, **how)
    assert run(*more, **how).startswith("nothing to do")
    assert run() == "4 of 4 photos segmented, in out", "and so are the first ones then"


def test_a_copied_bundle_and_options_that_change_no_result_are_the_same_run(run, micro_bundle):
    run()
    place = shutil.copytree(micro_bundle, "copied")
    assert run("--workers", "3", "--engines", "2", "--threads", "2", bundle=place).startswith("nothing to do")


def test_what_is_asked_for_is_written_and_what_is_there_counts(run):
    assert run("--save", "mask") == "4 of 4 photos segmented, in out"
    assert {name.partition(".")[2] for name in results()} == {"mask.png"}
    before = results()
    assert run("--save", "mask,json") == "4 of 4 photos segmented, in out", "JSON was missing"
    assert set(before) < set(results())
    assert run("--save", "json").startswith("nothing to do") and run("--save", "mask").startswith("nothing to do")


@pytest.mark.parametrize(("given_kinds", "told"), [("msk", "Did you mean 'mask'"), ("", "name at least one")])
def test_kinds_that_there_are_not_are_refused(run, given_kinds, told):
    assert told in run("--save", given_kinds, code=2)


def test_the_overlay_is_not_drawn_where_nobody_asks_for_it(run, monkeypatch):
    monkeypatch.setattr("ovdeploy.runtime.answers.result.draw_overlay", None)
    assert run("--save", "mask,json") == "4 of 4 photos segmented, in out"


def test_a_photo_that_failed_is_tried_again(run):
    Path("photos/bad.png").write_bytes(b"no image")
    assert run(code=1) == "4 of 5 photos segmented, in out"
    assert run(code=1) == "0 of 5 photos segmented, 4 were done before, in out"
    Image.fromarray(draw_photo((40, 52), 9)).save("photos/bad.png")
    assert run() == "1 of 5 photos segmented, 4 were done before, in out"


def line_of(place):
    """The number of a photo's line in the record."""
    return 1 + PLACES.index(place)


@pytest.mark.parametrize("at", [line_of("sub/a.png"), line_of("a.png")])
def test_a_damaged_line_costs_its_photo_alone(run, at):
    run("--workers", "1")
    lines = Path("out", RECORD).read_bytes().splitlines(keepends=True)
    lines[at] = lines[at].replace(b"a", b"b", 1)
    Path("out", RECORD).write_bytes(b"".join(lines))
    assert run() == "1 of 4 photos segmented, 3 were done before, in out"
    assert run().startswith("nothing to do")


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"x" + data, lambda data: data[:20]])
def test_a_record_that_is_none_costs_all_photos(run, damage):
    run()
    Path("out", RECORD).write_bytes(damage(Path("out", RECORD).read_bytes()))
    assert run() == "4 of 4 photos segmented, in out"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_something_else_in_the_place_of_the_record_is_told(run, make):
    Path("out").mkdir()
    make(Path("out", RECORD))
    assert "record of what is done cannot be read" in run(code=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_record_is_cut_or_altered_to_only_what_was_done_counts(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("record")
    photos = []
    for index in range(4):
        path = folder / f"{index}.png"
        path.write_bytes(bytes([index]))
        (folder / f"{index}.json").write_text("{}")
        photos.append(StoredPhoto(str(path)))
        photos[-1].look()
    with Record(folder, {"words": "a"}) as record:
        for index in range(3):
            record.begin(str(index))
            record.add(str(index), photos[index], [".json"])
    said = bytearray((folder / RECORD).read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    cut = said[: data.draw(st.integers(0, len(said)))]
    (folder / RECORD).write_bytes(cut)
    with Record(folder, {"words": "a"}) as record:
        held = [record.holds(str(index), StoredPhoto(photo.name), [".json"]) for index, photo in enumerate(photos)]
        assert not held[3], "what never was done is not done"
        record.begin("3")
        record.add("3", photos[3], [".json"])
    with Record(folder, {"words": "a"}) as record:
        again = [record.holds(str(index), StoredPhoto(photo.name), [".json"]) for index, photo in enumerate(photos)]
    assert again[3], "a new line does not suffer from what stands before it"
    assert all(after or not before for before, after in zip(held, again, strict=True)), "nor those from it"


def test_two_runs_of_the_same_append_side_by_side_and_another_is_refused(tmp_path):
    (tmp_path / "p.png").write_bytes(b"p")
    (tmp_path / "x.json").write_text("{}")
    photo = StoredPhoto(str(tmp_path / "p.png"))
    photo.look()
    with Record(tmp_path, {"words": "a"}) as one, Record(tmp_path, {"words": "a"}) as two:
        for record in (one, two):
            record.begin("x")
            record.add("x", photo, [".json"])
        with Record(tmp_path, {"words": "b"}) as other, pytest.raises(BusyError, match="another `segment`"):
            other.begin("x")
    with Record(tmp_path, {"words": "b"}) as other:
        assert other.differs == ("words",)
        other.begin("x")
    with Record(tmp_path, {"words": "a"}) as record:
        assert not record.holds("x", photo, [".json"])


def test_results_that_are_being_written_over_no_longer_count(tmp_path):
    """A run that is killed between two results of a photo leaves one of each content."""
    (tmp_path / "p.png").write_bytes(b"p")
    (tmp_path / "x.json").write_text("{}")
    photo = StoredPhoto(str(tmp_path / "p.png"))
    photo.look()
    for _ in range(2):
        with Record(tmp_path, {}) as record:
            record.begin("x")
            record.add("x", photo, [".json"])
    with Record(tmp_path, {}) as record:
        assert record.holds("x", photo, [".json"])
        record.begin("x")
    with Record(tmp_path, {}) as record:
        assert not record.holds("x", photo, [".json"])


def test_a_photo_that_changes_while_it_is_read_is_not_recorded(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(draw_photo((40, 52))).save(path)
    photo = StoredPhoto(str(path))
    looked = photo._note

    def changed(file):
        looked(file)
        with open(path, "ab") as other:
            other.write(b"more")

    photo._note = changed
    photo.read(10**6)
    assert photo.sha256 == ""


@pytest.mark.parametrize("after", [0.2, 0.5, 0.8])
def test_a_killed_run_goes_on_where_it_was(run, micro_bundle, after):
    """The whole, with twenty kills, is tests/measure/kills.py."""
    for index in range(24):
        Image.fromarray(draw_photo((90, 120), index)).save(f"photos/more{index:02}.png")
    command = [sys.executable, "-c", "from ovdeploy.runtime.cli import main; main()", "segment", "photos", "--bundle",
               micro_bundle, "--vocabulary", "words.npz", "--output", "out", "--backend", "onnxruntime"]  # fmt: skip
    process = subprocess.Popen([str(each) for each in command], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(Path("out").glob("*.json"))) < 24 * after and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(Path("out", RECORD).read_bytes().splitlines()) - 1
    told = run()
    assert f"{28 - done} of 28" in told or f"{28 - done + 1} of 28" in told, (told, done)
    whole = {name: Path("out", name).read_bytes() for name in results() if name.endswith(".png")}
    shutil.rmtree("out")
    run()
    assert whole == {name: Path("out", name).read_bytes() for name in results() if name.endswith(".png")}
    assert not list(Path("out").rglob(".*"))


def test_a_photo_is_read_from_a_grey_file_as_well(run):
    """Nothing of the record depends on how a photo was read."""
    Image.fromarray(np.zeros((40, 52), np.uint8)).save("photos/grey.png")
    run()
    assert run().startswith("nothing to do: all 5")
