"""`ovdeploy everything`: what it writes, what it tells, and how it ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import Prompter
from ovdeploy.runtime.answers import Rle
from ovdeploy.runtime.cli.everything import everything
from ovdeploy.runtime.pipelines.promptable.everything.parameters import EverythingParameters
from support.samples import draw_photo

HW = (60, 80)
KEEPING = ("--set", "iou_threshold=0", "--set", "stability_threshold=0")
"""Random weights are never sure."""


@pytest.fixture
def find(complete_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cup", "table"):
        Image.fromarray(draw_photo(HW, len(name))).save(f"{name}.png")

    def run(*arguments):
        command = [*arguments, *KEEPING, "--bundle", complete_bundle, "-o", "out", "--points-per-side", 2]
        result = CliRunner().invoke(everything, [str(each) for each in command])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_a_picture_and_json_are_written_for_every_photo(find, tmp_path, complete_bundle):
    result = find("cup.png", "table.png")
    assert result.exit_code == 0, result.stderr
    names = [f"{name}.everything.{kind}" for name in ("cup", "table") for kind in ("json", "overlay.png")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    with Prompter.load(complete_bundle) as prompter:
        chosen = {"points_per_side": 2, "iou_threshold": 0, "stability_threshold": 0}
        expected = prompter.everything("cup.png", parameters=chosen)
    told = json.loads((tmp_path / "out" / "cup.everything.json").read_text())
    assert expected.instances and len(told["instances"]) == len(expected.instances) and told["path"] == "cup.png"
    for each, entry in zip(expected.instances, told["instances"], strict=True):
        assert Rle.from_coco(entry["mask"]) == each.mask
        assert entry["box_xyxy"] == list(each.box_xyxy) and entry["area"] == each.area
        assert entry["iou"] == pytest.approx(each.iou) and entry["point_xy"] == list(each.point_xy)
    picture = np.asarray(Image.open(tmp_path / "out" / "cup.everything.overlay.png"))
    np.testing.assert_array_equal(picture, np.asarray(expected.overlay()))
    assert result.stdout.count(" things  4 points ") == 2
    assert "2 × 2 points a photo" in result.stderr and "2 of 2 photos done" in result.stderr


def test_json_lines_go_to_standard_output_and_nothing_else(find):
    result = find("cup.png", "table.png", "--json", "--coarse-to-fine")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines] == ["cup.png", "table.png"] and not result.stderr
    assert lines[0]["schema"] == "ovdeploy/everything/1" and lines[0]["output"] == "out/cup.everything"
    assert lines[0]["points"] <= 5, "one point first, then at most four"


def test_a_photo_that_fails_does_not_stop_the_others(find, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    result = find("broken.png", "none.png", "cup.png")
    assert result.exit_code == 1 and (tmp_path / "out" / "cup.everything.json").is_file()
    assert "broken.png" in result.stderr and "none.png" in result.stderr and "1 of 3 photos done" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["cup.png", "--set", "points=3"], 1, "unknown parameter 'points'"),
        (["cup.png", "--set", "crop_layers=9"], 1, "crop_layers"),
        (["cup.png", "--set", "min_area"], 2, "NAME=VALUE"),
        (["cup.png", "--points-per-side", "0"], 2, "points-per-side"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_engines_are_opened(find, tmp_path, monkeypatch, arguments, code, told):
    monkeypatch.setattr(Prompter, "load", lambda *_, **__: pytest.fail("opened"))
    arguments = [*arguments, "--points-per-side", "2"] if "--points-per-side" not in arguments else arguments
    result = CliRunner().invoke(everything, [*arguments, "--bundle", "none", "-o", "out"])
    assert result.exit_code == code and told in result.output and not (tmp_path / "out").exists()


def test_the_help_names_every_parameter_and_its_default():
    told = CliRunner().invoke(everything, ["--help"]).output
    defaults = EverythingParameters()
    for name in EverythingParameters.__struct_fields__:
        assert name in told or f"--{name.replace('_', '-')}" in told, name
        value = getattr(defaults, name)
        assert not value or f"{name} {value:.3g}" in told.replace(f"{value:.1f}", f"{value:.3g}"), name


def test_results_are_not_taken_for_photos(find, tmp_path):
    assert find("cup.png").exit_code == 0
    assert find("out", "--json").exit_code == 1, "there is no photo in it"
