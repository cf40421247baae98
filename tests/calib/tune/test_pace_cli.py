"""`ovdeploy tune --budget-ms` and `--max-loss` on a real bundle."""

import json

import pytest
from click.testing import CliRunner

from ovdeploy.runtime import load_parameters
from ovdeploy.runtime.cli import main
from support.layouts import LAYOUTS, make_layout

SCENES = ("--dataset", "scenes", "--photos", "3", "--template", "a {}.", "--trials", "4")


@pytest.fixture
def tune(tmp_path, monkeypatch, micro_bundle):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["tune", str(micro_bundle), *SCENES, *map(str, arguments)])


def test_a_budget_gives_an_overlay_that_other_commands_take(tune, tmp_path):
    result = tune("--budget-ms", 1e6, "--set", "logit_scale=30", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["goal"] == "the best mIoU within 1e+06 ms a photo" and len(found["tried"]) == 4
    assert all(each["photos"] == found["tried"][0]["photos"] and each["ms"] > 0 for each in found["tried"])
    assert load_parameters("tuned.toml") == {"logit_scale": 30, **found["chosen"]}
    head = (tmp_path / "tuned.toml").read_text()
    assert head.startswith("# Chosen by `ovdeploy tune`") and found["verdict"] in head


def test_everything_may_be_lost_so_the_fastest_is_found(tune):
    result = tune("--max-loss", 100, "--check-share", 0, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["found"]["ms"] == min(each["ms"] for each in found["tried"])
    assert found["checked"] is None


def test_the_table_and_the_verdict_are_printed(tune):
    result = tune("--max-loss", 100)
    assert result.exit_code == 0, result.stderr
    for words in ("ms a photo", "short_side", "chosen", "tuned.toml"):
        assert words in result.stdout, words


def test_a_budget_that_nothing_keeps_is_an_error_and_writes_nothing(tune, tmp_path):
    result = tune("--budget-ms", 0.001)
    assert result.exit_code == 1 and "the fastest" in result.stderr
    assert not (tmp_path / "tuned.toml").exists()


def test_two_goals_are_a_wrong_command_line(tune):
    result = tune("--budget-ms", 10, "--max-loss", 1)
    assert result.exit_code == 2 and "give one of them" in result.stderr


def test_photos_that_cannot_be_read_are_left_out_and_told(tmp_path, monkeypatch, micro_bundle):
    monkeypatch.chdir(tmp_path)
    make_layout(tmp_path, LAYOUTS["voc21"])
    photos = sorted(tmp_path.rglob("*.jpg"))
    photos[-1].write_bytes(b"no photo")
    arguments = ("--dataset", "voc21", "--data", ".", "--template", "a {}.", "--trials", "2", "--check-share", "0")
    result = CliRunner().invoke(main, ["tune", str(micro_bundle), *arguments, "--max-loss", "100", "--json"])
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["failed"]) == 1 and "left out" in result.stderr
