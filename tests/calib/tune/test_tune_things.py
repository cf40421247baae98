"""`ovdeploy tune` and `ovdeploy evaluate` on a bundle that looks for single things. Its weights are random."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from ovdeploy.runtime import load_parameters
from ovdeploy.runtime.cli import main
from support.layouts import LAYOUTS, make_layout

SCENES = ("--dataset", "scenes", "--photos", 3, "--template", "a {}.", "--backend", "onnxruntime")
FITTED = {"box_threshold", "nms_threshold", "mask_nms_threshold"}


@pytest.fixture
def ovdeploy(tmp_path, monkeypatch, micro_grounded_bundle):
    monkeypatch.chdir(tmp_path)

    def run(command, *arguments):
        result = CliRunner().invoke(main, [command, "--bundle", str(micro_grounded_bundle), *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_thresholds_of_things_are_fitted_and_the_overlay_is_evaluated(ovdeploy):
    pytest.importorskip("pycocotools")
    tune = ("tune", *SCENES, "--trials", 6, "--cache", "cache", "--json", "--set", "max_boxes=5")
    result = ovdeploy(*tune)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["counts"], found["encoded"], found["fitted"]["photos"]) == ("F1", 3, 1)
    assert set(found["before"]) == FITTED and set(found["fitted"]["before"]) == {"F1", "precision", "recall"}
    assert {(trial["figure"], trial["f1"]) for trial in found["trials"]} == {("F1", 0.0)} and len(found["trials"]) == 6
    assert load_parameters("tuned.toml") == {"max_boxes": 5, **found["chosen"]}
    again = json.loads(ovdeploy(*tune).stdout)
    assert again["reused"] == 3 and again["trials"] == found["trials"]
    told = ovdeploy("evaluate", *SCENES, "--parameters", "tuned.toml", "--worst", 0, "--json")
    assert told.exit_code == 0, told.stderr
    assert {row["compared"] for row in json.loads(told.stdout)["things"]} == {"masks", "boxes", "detected"}


def test_labels_of_pixels_alone_do_not_tell_of_things(ovdeploy, tmp_path):
    pytest.importorskip("pycocotools")
    make_layout(tmp_path, LAYOUTS["voc21"])
    result = ovdeploy("tune", "--dataset", "voc21", "--data", ".", "--template", "a {}.", "--cache", "cache")
    assert result.exit_code == 1 and "has pixels labelled alone; take `scenes`" in result.stderr


def test_a_pace_that_there_is_not_is_refused(ovdeploy):
    result = ovdeploy("tune", *SCENES, "--budget-ms", 60)
    assert result.exit_code == 1 and "no setting that decides how long a photo takes" in result.stderr


@pytest.mark.parametrize("command", ["tune", "evaluate"])
def test_without_pycocotools_it_is_said_what_installs_it(ovdeploy, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    result = ovdeploy(command, *SCENES)
    assert result.exit_code == 1 and "pip install 'ovdeploy[instances]'" in result.stderr
