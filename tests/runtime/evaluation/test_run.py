"""The run: every photo once, whatever fails and however often it is killed; figures against plain counting."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovdeploy.runtime import DatasetError, PhotoError
from ovdeploy.runtime.datasets import FolderDataset, load_spec
from ovdeploy.runtime.evaluation.journal import Journal
from ovdeploy.runtime.evaluation.predictors import Predicted
from ovdeploy.runtime.evaluation.report import results, write_report
from ovdeploy.runtime.evaluation.run import evaluate
from ovdeploy.runtime.evaluation.summary import summarise
from support import evaluating
from support.evaluating import CLASSES, NoiseDataset, NoisePredictor
from support.layouts import LAYOUTS, make_layout


def run(dataset, folder, predictors=None, **options):
    """The results of a run, and its entries."""
    with Journal(folder, {"test": 1}, **options) as journal:
        entries = list(evaluate(dataset, predictors or {"bundle": NoisePredictor()}, journal))
        return results(dataset, summarise(dataset, journal.entries()), {}), entries


def without_times(found):
    return {key: value for key, value in found.items() if key != "milliseconds"}


class Shifted:
    """Calls every pixel by the class after the right one, in some rows; background or class 0 on ignored pixels."""

    identity: dict = {}  # noqa: RUF012

    def __init__(self, classes):
        self._classes = classes

    def predict(self, sample):
        mask = np.where(sample.labels < self._classes, sample.labels, 0)
        mask[::5] = (mask[::5] + 1) % self._classes
        return Predicted({"coarse": mask.astype(np.uint16)})


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_benchmarks_figures_are_those_of_plain_counting(name, tmp_path):
    """Labels from the layout's own plain meaning of values, IoU by loops over pixels and sets."""
    meant = make_layout(tmp_path, LAYOUTS[name])
    dataset = FolderDataset(load_spec(LAYOUTS[name].dataset), tmp_path)
    classes = len(dataset.classes)
    found, _ = run(dataset, tmp_path / "out", {"bundle": Shifted(classes)})
    there, called = [set() for _ in range(classes)], [set() for _ in range(classes)]
    for photo, labels in meant.items():
        for (y, x), index in np.ndenumerate(labels):
            if index is not None:
                there[index].add((photo, y, x))
                called[(index + 1) % classes if y % 5 == 0 else index].add((photo, y, x))
    ious = [len(a & b) / len(a | b) if a | b else None for a, b in zip(there, called, strict=True)]
    assert [row["coarse iou"] for row in found["classes"]] == ious
    assert [row["pixels"] for row in found["classes"]] == [len(pixels) for pixels in there]
    known = [value for value in ious if value is not None]
    figures = found["columns"]["coarse"]
    assert figures["miou"] == pytest.approx(sum(known) / len(known), abs=1e-12)
    hits = sum(len(a & b) for a, b in zip(there, called, strict=True))
    assert figures["accuracy"] == pytest.approx(hits / sum(map(len, there)), abs=1e-12)
    assert (found["photos"], found["failed"]) == (2, 0)


def test_a_killed_run_of_5000_photos_goes_on_to_the_same_end(tmp_path):
    """Killed for real, twice, with a torn line the second time."""
    dataset = NoiseDataset(5000)
    whole, _ = run(dataset, tmp_path / "whole", {"bundle": NoisePredictor(kinds=("coarse",))})
    folder = tmp_path / "killed"
    for photos in (700, 1900):
        _run_and_kill(folder, 5000, photos)
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    predictor = NoisePredictor(kinds=("coarse",))
    resumed, entries = run(dataset, folder, {"bundle": predictor})
    assert 0 < len(entries) == predictor.calls < 4000
    assert without_times(resumed) == without_times(whole)
    assert (resumed["photos"], resumed["failed"]) == (5000, 0)


def _run_and_kill(folder, photos, after):
    """Start the run in a process of its own, and kill it when so many photos were done."""
    command = [sys.executable, evaluating.__file__, str(folder), str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        for count, _ in enumerate(process.stdout, start=1):
            if count == after:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


def test_what_is_done_is_not_done_again_and_more_photos_may_follow(tmp_path):
    first = NoisePredictor()
    run(NoiseDataset(3), tmp_path, {"bundle": first})
    second = NoisePredictor()
    found, entries = run(NoiseDataset(5), tmp_path, {"bundle": second})
    assert (first.calls, second.calls, [entry.photo for entry in entries]) == (3, 2, ["0003", "0004"])
    assert without_times(found) == without_times(run(NoiseDataset(5), tmp_path / "anew")[0])
    fewer, entries = run(NoiseDataset(2), tmp_path)
    assert entries == [] and without_times(fewer) == without_times(run(NoiseDataset(2), tmp_path / "few")[0])


def test_photos_that_fail_are_told_counted_and_left_out(tmp_path):
    dataset = NoiseDataset(6, bad={"0001": PhotoError, "0004": DatasetError, "0005": OSError})
    found, entries = run(dataset, tmp_path, {"bundle": NoisePredictor(fails=(2,))})
    assert [entry.error for entry in entries] == [
        None, "0001 is bad", "call 2 failed", None, "0004 is bad", "0005 is bad"
    ]  # fmt: skip
    assert (found["photos"], found["failed"]) == (2, 4)
    alone = NoiseDataset(6)
    alone.names = ["0000", "0003"]
    expected = run(alone, tmp_path / "alone")[0]
    assert found["columns"] == expected["columns"] and found["classes"] == expected["classes"]


def test_photos_that_failed_are_tried_again(tmp_path):
    run(NoiseDataset(3, bad={"0001": PhotoError}), tmp_path)
    found, entries = run(NoiseDataset(3), tmp_path)
    assert [entry.photo for entry in entries] == ["0001"] and found["failed"] == 0
    assert found["classes"][0]["pixels"] == run(NoiseDataset(3), tmp_path / "anew")[0]["classes"][0]["pixels"]


def test_a_mistake_of_the_program_is_not_taken_for_a_bad_photo(tmp_path):
    class Broken:
        identity: dict = {}  # noqa: RUF012

        def predict(self, sample):
            return Predicted({"coarse": sample.labels[:-1]})

    with pytest.raises(ValueError, match="differ in shape"):
        run(NoiseDataset(1), tmp_path, {"bundle": Broken()})


def test_nothing_but_failures_is_still_a_report(tmp_path):
    dataset = NoiseDataset(1, bad={"0000": PhotoError})
    found, _ = run(dataset, tmp_path)
    assert (found["photos"], found["failed"], found["columns"]) == (0, 1, {})
    with Journal(tmp_path, {"test": 1}) as journal:
        write_report(tmp_path, dataset, summarise(dataset, journal.entries()), {})
    assert (tmp_path / "photos.csv").read_text() == "photo,error\n0000,0000 is bad\n"


def test_rivals_are_compared_by_kind_and_by_pixel(tmp_path):
    predictors = {
        "bundle": NoisePredictor(0),
        "same": NoisePredictor(0),
        "other": NoisePredictor(1, ("coarse",)),
    }
    dataset = NoiseDataset(4)
    found, _ = run(dataset, tmp_path, predictors)
    assert list(found["columns"]) == ["refined", "coarse", "same refined", "same coarse", "other coarse"]
    gains = {(each["column"], each["against"]): each for each in found["differences"]}
    assert set(gains) == {
        ("refined", "same refined"), ("coarse", "same coarse"), ("refined", "other coarse"), ("coarse", "other coarse")
    }  # fmt: skip
    same = gains["refined", "same refined"]
    assert (same["miou"], same["accuracy"], same["boundary_f"], same["agreement"]) == (0, 0, 0, 1)
    against = gains["coarse", "other coarse"]
    figures = [found["columns"][column]["miou"] for column in ("coarse", "other coarse")]
    assert against["miou"] == figures[0] - figures[1] != 0
    assert "agreement" not in gains["refined", "other coarse"]
    assert against["agreement"] == _agreement(dataset, NoisePredictor(0), NoisePredictor(1, ("coarse",)))


def _agreement(dataset, one, other):
    equal = counted = 0
    for name in dataset.names:
        sample = dataset.read(name)
        counts = sample.labels < len(CLASSES)
        equal += (one.predict(sample).masks["coarse"] == other.predict(sample).masks["coarse"])[counts].sum()
        counted += counts.sum()
    return equal / counted


def test_groups_have_the_mean_of_their_classes(tmp_path):
    found, _ = run(NoiseDataset(3), tmp_path)
    expected = (found["classes"][1]["coarse iou"] + found["classes"][3]["coarse iou"]) / 2
    assert found["columns"]["coarse"]["groups"]["things"] == pytest.approx(expected, abs=1e-12)


def test_the_report_has_every_photo_and_class(tmp_path):
    dataset = NoiseDataset(3, bad={"0001": PhotoError})
    with Journal(tmp_path, {}) as journal:
        list(evaluate(dataset, {"bundle": NoisePredictor(kinds=("coarse",))}, journal))
        found = write_report(tmp_path, dataset, summarise(dataset, journal.entries()), {"by": "a test"})
    assert json.loads((tmp_path / "results.json").read_text()) == found and found["run"] == {"by": "a test"}
    header, *rows = [line.split(",") for line in (tmp_path / "photos.csv").read_text().splitlines()]
    assert header == [
        "photo", "pixels", "coarse miou", "coarse accuracy", "coarse boundary_f", "bundle ms", "error"
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["0000", "0001", "0002"] and rows[1][1:] == [""] * 5 + ["0001 is bad"]
    assert [line.split(",")[0] for line in (tmp_path / "classes.csv").read_text().splitlines()] == ["class", *CLASSES]
    table = [line.split(",") for line in (tmp_path / "confusion-coarse.csv").read_text().splitlines()]
    assert table[0][1:] == list(CLASSES) == [row[0] for row in table[1:]]
    pixels = [sum(map(int, row[1:])) for row in table[1:]]
    assert pixels == [row["pixels"] for row in found["classes"]]
    assert not list(Path(tmp_path).glob(".*")), "nothing half-written is left"
