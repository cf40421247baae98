"""`ovdeploy tune` on a real bundle: what it writes and prints, that it goes on, and how it ends on bad input."""

import json

import pytest
from click.testing import CliRunner

from ovdeploy.runtime import Segmenter, load_parameters
from ovdeploy.runtime.backends.base import Session
from ovdeploy.runtime.cli import main
from support.layouts import LAYOUTS, make_layout

FAST = ("--template", "a {}.", "--cache", "cache")
COARSE = (*FAST, "--set", "refine=false")


@pytest.fixture
def ovdeploy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, [*map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def voc(tmp_path):
    """The two photos of a small VOC21, which has a background."""
    make_layout(tmp_path, LAYOUTS["voc21"])
    return ("--dataset", "voc21", "--data", ".")


def test_scenes_are_fitted_and_the_overlay_is_taken(ovdeploy, micro_bundle):
    scenes = ("--dataset", "scenes", "--photos", 4, "--template", "a {}.")
    everything = ("--set", "iou_threshold=-10", "--set", "stride=96")  # SAM's estimates of random masks are noise
    result = ovdeploy("tune", micro_bundle, *scenes, "--trials", 9, "--cache", "cache", *everything, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["encoded"] == 4 and found["reused"] == 0 and found["exhausted"] and len(found["trials"]) == 9
    assert found["fitted"]["photos"] == found["checked"]["photos"] == 2 and found["counts"] == "refined"
    assert set(found["before"]) == {"logit_scale", "region_threshold", "iou_threshold", "min_area"}
    assert load_parameters("tuned.toml") == {"stride": 96, **found["chosen"]}
    taken = ovdeploy("evaluate", micro_bundle, *scenes, "--parameters", "tuned.toml", "--worst", 0, "--json")
    assert taken.exit_code == 0, taken.stderr
    with Segmenter.load(micro_bundle, parameters=load_parameters("tuned.toml")) as opened:
        assert opened.parameters.iou_threshold == found["chosen"]["iou_threshold"]


def test_figures_are_those_of_evaluate(ovdeploy, micro_bundle, voc):
    tuned = ovdeploy("tune", micro_bundle, *voc, *COARSE, "--check-share", 0, "--json")
    assert tuned.exit_code == 0, tuned.stderr
    found = json.loads(tuned.stdout)
    assert found["checked"] is None and set(found["before"]) == {"probability_threshold", "logit_scale"}
    assert "no photo was held out" in tuned.stderr
    for values, expected in ((found["before"], "before"), (found["chosen"], "after")):
        settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
        told = ovdeploy("evaluate", micro_bundle, *voc, *COARSE[:2], *COARSE[4:], *settings, "--worst", 0, "--json",
                        "--output", expected)  # fmt: skip
        assert json.loads(told.stdout)["columns"]["coarse"]["miou"] == found["fitted"][expected]["coarse"]


def test_tables_and_verdict_are_printed_and_the_overlay_says_where_it_comes_from(ovdeploy, micro_bundle, voc, tmp_path):
    result = ovdeploy("tune", micro_bundle, *voc, *COARSE, "--output", "voc.toml")
    assert result.exit_code == 0, result.stderr
    told = " ".join(result.stdout.split())
    for words in ("probability_threshold", "fitted on", "held out", "settings were tried", "voc.toml"):
        assert words in told, words
    text = (tmp_path / "voc.toml").read_text()
    assert text.startswith("# Fitted by `ovdeploy tune` to 1 photos of") and "Verdict:" in text
    assert load_parameters("voc.toml").keys() == {"refine", "probability_threshold", "logit_scale"}


def test_an_interrupted_run_goes_on_to_the_same_values(ovdeploy, micro_bundle, voc, monkeypatch):
    arguments = ("tune", micro_bundle, *voc, *COARSE, "--json")
    run, calls = Session.run, []

    def killed(self, *args, **kwargs):
        calls.append(self.contract.stage)
        if calls.count("head") == 2:
            raise KeyboardInterrupt
        return run(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "run", killed)
        assert ovdeploy(*arguments).exit_code == 1
    told = ovdeploy(*arguments)
    found = json.loads(told.stdout)
    assert (found["encoded"], found["reused"]) == (1, 1) and "1 were in cache" in told.stderr
    again = json.loads(ovdeploy(*arguments).stdout)
    assert (again.pop("encoded"), again.pop("reused")) == (0, 2)
    assert again == {name: value for name, value in found.items() if name not in ("encoded", "reused")}


def test_photos_that_cannot_be_used_are_told_and_left_out(ovdeploy, micro_bundle, voc, tmp_path):
    names = ["2007_000033", *(f"gone{index}" for index in range(12))]
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))
    result = ovdeploy("tune", micro_bundle, *voc, *COARSE, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("left out:") == 11 and "and 2 more" in result.stderr
    found = json.loads(result.stdout)
    assert len(found["failed"]) == 12 and found["fitted"]["photos"] == 1 and found["checked"] is None


def test_a_dataset_without_labels_or_photos_is_refused(ovdeploy, micro_bundle, voc, tmp_path):
    import numpy as np
    from PIL import Image

    for path in (tmp_path / "SegmentationClass").iterdir():
        with Image.open(path) as image:
            ignored = np.full_like(np.asarray(image), 255)
        Image.fromarray(ignored).save(path)
    result = ovdeploy("tune", micro_bundle, *voc, *COARSE)
    assert result.exit_code == 1 and "2 photos have no pixel" in result.stderr and "nothing to fit on" in result.stderr
    assert not (tmp_path / "tuned.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "--dataset"),
        (("--dataset", "scenes", "--data", "."), 2, "scenes are drawn"),
        (("--dataset", "scenes", "--check-share", "1"), 2, "check-share"),
        (("--dataset", "scenes", "--set", "refine=false"), 1, "nothing to tune"),
        (("--dataset", "scenes", "--set", "probability_threshold=0.5"), 1, "no background"),
        (("--dataset", "scenes", "--set", "crop=64"), 1, "shape of the dino"),
        (("--dataset", "scenes", "--parameters", "none.toml"), 1, "cannot be read"),
        (("--dataset", "scenes", "--output", "gone/tuned.toml"), 1, "is no folder"),
    ],
)
def test_mistakes_are_told_in_one_line(ovdeploy, micro_bundle, arguments, code, told):
    result = ovdeploy("tune", micro_bundle, *arguments)
    assert result.exit_code == code and told in result.stderr
