"""`ovdeploy evaluate`: benchmarks and scenes through a real bundle; what it writes, prints, and how it ends."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.datasets import FolderDataset, load_spec
from ovdeploy.runtime.evaluation.metrics import class_iou, confusion
from support.layouts import LAYOUTS, make_layout

FAST = ("--template", "a {}.", "--set", "refine=false", "--worst", "1")
"""One prompt a name, and no decoder: the machinery is the same."""


@pytest.fixture
def evaluate(micro_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, ["evaluate", str(micro_bundle), *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["voc20", "voc21", "context60", "coco-object, original", "cityscapes"])
def test_a_benchmark_through_a_bundle(evaluate, micro_bundle, tmp_path, name):
    layout = LAYOUTS[name]
    make_layout(tmp_path / "data", layout)
    result = evaluate("--dataset", layout.dataset, "--data", "data", "--json", *FAST)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    spec = load_spec(layout.dataset)
    dataset = FolderDataset(spec, tmp_path / "data")
    with Segmenter.load(micro_bundle, parameters={"refine": False}) as segmenter:
        vocabulary = segmenter.vocabulary(spec.entries, templates=["a {}."], background=spec.background)
        counts = np.zeros((len(spec.classes),) * 2, np.int64)
        for photo in dataset.names:
            sample = dataset.read(photo)
            counts += confusion(sample.labels, segmenter.segment(sample.photo, vocabulary).mask, len(spec.classes))
    expected = [None if np.isnan(value) else value for value in class_iou(counts)]
    assert [row["coarse iou"] for row in found["classes"]] == expected
    assert written(tmp_path / "evaluation" / f"{micro_bundle.name}-{layout.dataset}")[:3] == [
        "classes.csv", "confusion-coarse.csv", "confusion-coarse.png"
    ]  # fmt: skip


def test_scenes_with_refinement_against_colour_and_another_bundle(evaluate, micro_bundle, tmp_path):
    (tmp_path / "twin").symlink_to(micro_bundle)
    options = ("--dataset", "scenes", "--photos", "2", "--template", "a {}.", "--output", "out", "--worst", "1")
    result = evaluate(*options, "--against", "colour", "--against", "twin")
    assert result.exit_code == 0, result.stderr
    for words in (
        "IoU coarse",
        "drawn scenes, 2 photos",
        "held-out",
        "refined less twin refined",
        "equal on 100.000 %",
        "a photo took",
    ):
        assert words in " ".join(result.stdout.split()), words
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["schema"] == "ovdeploy/evaluation/1"
    assert list(found["columns"]) == ["refined", "coarse", "colour", "twin refined", "twin coarse"]
    assert found["columns"]["twin refined"] == found["columns"]["refined"]
    kinds = ("refined", "coarse", "colour", "twin-refined", "twin-coarse")
    files = [f"confusion-{kind}.{suffix}" for kind in kinds for suffix in ("csv", "png")]
    files += ["classes.csv", "photos.csv", "results.json", "run.json", "journal.jsonl"]
    there = written(tmp_path / "out")
    assert set(files) < set(there) and len(there) == len(files) + 1
    assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text()


def test_a_second_call_goes_on_and_another_run_is_refused(evaluate, tmp_path):
    scenes = ("--dataset", "scenes", "--output", "out", *FAST)
    assert evaluate(*scenes, "--photos", 1).exit_code == 0
    more = evaluate(*scenes, "--photos", 2, "--json")
    assert more.exit_code == 0 and "out: going on after 1 photos" in more.stderr
    assert json.loads(more.stdout)["photos"] == 2
    other = evaluate(*scenes, "--photos", 2, "--names", "all")
    assert other.exit_code == 1 and "differs in: dataset" in other.stderr and "--restart" in other.stderr
    anew = evaluate(*scenes, "--photos", 1, "--names", "all", "--restart", "--json")
    assert anew.exit_code == 0 and json.loads(anew.stdout)["photos"] == 1


def test_bad_photos_and_labels_are_told_and_counted(evaluate, micro_bundle, tmp_path):
    make_layout(tmp_path, LAYOUTS["voc21"])
    names = ["2007_000033", "gone", *(f"gone{index}" for index in range(12)), "2008_000123"]
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))
    (tmp_path / "SegmentationClass/2008_000123.png").write_bytes(b"no label map")
    result = evaluate("--dataset", "voc21", "--data", ".", *FAST)
    assert result.exit_code == 1
    assert "14 photos failed" in result.stdout and "1 photos" in result.stdout
    assert result.stderr.count("error: ") == 11 and "and 4 more photos failed" in result.stderr
    rows = (tmp_path / "evaluation" / f"{micro_bundle.name}-voc21" / "photos.csv").read_text().splitlines()
    assert len(rows) == 16 and "no such photo" in rows[2] and "not an image" in rows[-1]


def test_no_photo_at_all_could_be_read(evaluate, tmp_path):
    make_layout(tmp_path, LAYOUTS["voc21"])
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("gone\n")
    result = evaluate("--dataset", "voc21", "--data", ".", *FAST)
    assert result.exit_code == 1 and "no photo was done" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "--dataset"),
        (("--dataset", "voc21"), 2, "give --data"),
        (("--dataset", "scenes", "--data", "."), 2, "scenes are drawn"),
        (("--dataset", "voc12"), 1, "Did you mean 'voc21'"),
        (("--dataset", "voc21", "--data", "."), 1, "not laid out as voc21"),
        (("--dataset", "scenes", "--against", "tensorflow"), 1, "Valid: colour, torch"),
        (("--dataset", "scenes", "--weights", "clip"), 2, "expected ROLE=SOURCE"),
        (("--dataset", "scenes", "--set", "strid=3"), 1, "Did you mean 'stride'"),
        (("--dataset", "scenes", "--template", "a photo"), 1, "needs a {}"),
        (("--dataset", "scenes", "--precision", "fp8"), 1, "fp8"),
    ],
)
def test_mistakes_are_told_in_one_line(evaluate, tmp_path, arguments, code, told):
    result = evaluate(*arguments)
    assert result.exit_code == code and told in result.stderr
    assert not (tmp_path / "evaluation").exists()


def test_help_names_the_datasets(evaluate):
    told = evaluate("--help").stdout
    assert all(name in " ".join(told.split()) for name in ("scenes, ade20k", "voc21", "--against"))
