"""What `segment` writes of all photos together, and when it writes that anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO

from ovdeploy.runtime import Bundle, Vocabulary
from ovdeploy.runtime.answers.datasets import DATASETS
from ovdeploy.runtime.cli import main
from support.samples import draw_photo, draw_photos, random_vocabulary

PLACES = ["a.png", "b.jpg", "sub/a.png", "coco.dataset.png", "sub/b.png"]
NAMES = ["a", "b", "coco.dataset.png", "sub/a", "sub/b"]
"""Of results; one keeps its suffix, so that nothing of it is called as the dataset is."""


@pytest.fixture
def run(tmp_path, micro_bundle, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_photos("photos", PLACES)
    random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding).save("words.npz")

    def call(*more, images=("photos",), code=0, base=".", out=False):
        given = ("--bundle", micro_bundle, "--vocabulary", f"{base}/words.npz", "--output", f"{base}/out")
        given += ("--backend", "onnxruntime")
        result = CliRunner().invoke(main, [str(each) for each in ("segment", *images, *given, *more)])
        assert result.exit_code == code, (result.stderr, result.exception)
        return result.stdout if out else result.stderr

    return call


def file_names(name="coco.dataset.json"):
    return [told["file_name"] for told in json.loads(Path("out", name).read_bytes())["images"]]


def test_all_photos_are_one_dataset_of_each_kind(run, capsys):
    told = run("--save", "coco,coco-polygons,panoptic,yolo,mask")
    for dataset in DATASETS.values():
        assert f"out/{dataset.file}" in told
    dataset = COCO("out/coco.dataset.json")
    capsys.readouterr()
    assert file_names() == file_names("panoptic.dataset.json") == file_names("coco-polygons.dataset.json")
    assert file_names() == sorted(PLACES)
    for number, name in enumerate(NAMES, 1):
        alone = json.loads(Path(f"out/{name}.coco.json").read_bytes())
        assert [each["segmentation"] for each in dataset.loadAnns(dataset.getAnnIds([number]))] == [
            each["segmentation"] for each in alone["annotations"]
        ]
    assert sorted(dataset.anns) == list(range(1, len(dataset.anns) + 1))
    assert dataset.dataset["info"]["schema"] == "ovdeploy/coco/1" and dataset.dataset["info"]["bundle"]


def test_panoptic_pictures_are_found_from_the_dataset(run):
    run("--save", "panoptic,mask")
    document = json.loads(Path("out/panoptic.dataset.json").read_bytes())
    assert document["info"]["schema"] == "ovdeploy/panoptic/1"
    for told, name in zip(document["annotations"], NAMES, strict=True):
        colours = np.asarray(Image.open(Path("out", told["file_name"]))).astype(int)
        ids = colours @ [1, 256, 65536]
        mask = np.asarray(Image.open(f"out/{name}.mask.png"))
        for segment in told["segments_info"]:
            assert (ids == segment["id"]).sum() == segment["area"]
            assert (mask[ids == segment["id"]] == segment["category_id"] - 1).all()


def test_yolos_data_file_leads_to_the_photos(run):
    run("--save", "yolo", images=("photos/a.png", "photos/b.jpg"))
    data = json.loads(Path("out/data.yaml").read_bytes())
    assert Path("out", data["train"], "a.png").resolve() == Path("photos/a.png").resolve()
    assert list(data["names"].values()) == list(Vocabulary.load("words.npz").names) and "path" not in data


def test_photos_of_several_folders_are_named_as_they_were_given(run):
    assert "--relative-to" in run("--save", "coco", images=("photos/a.png", "photos/sub/a.png"))
    assert file_names() == ["photos/a.png", "photos/sub/a.png"]
    run("--save", "coco,yolo", "--relative-to", "photos", "--overwrite", images=("photos/a.png", "photos/sub/a.png"))
    assert file_names() == ["a.png", "sub/a.png"]
    data = json.loads(Path("out/data.yaml").read_bytes())
    assert Path("out", data["train"]).resolve() == Path("photos").resolve()


def test_the_folder_is_found_from_within(run, monkeypatch):
    monkeypatch.chdir("photos/sub")
    run("--save", "yolo", "--relative-to", "..", images=("a.png", "../a.png"), base="../..")
    data = json.loads(Path("../../out/data.yaml").read_bytes())
    assert Path("../../out", data["train"]).resolve() == Path("..").resolve()


def test_labels_that_ultralytics_would_not_find_are_told(run):
    Image.fromarray(draw_photo((40, 52), 7)).save("photos/a.jpg")
    told = run("--save", "yolo")
    assert "will not find the labels of 3 photos (a.jpg, a.png, coco.dataset.png" in told


def test_a_name_that_is_no_utf_8_stands_in_the_dataset_as_it_is(run):
    name = os.fsdecode(b"x\xff.png")
    Image.fromarray(draw_photo((40, 52), 7)).save(os.path.join("photos", name))
    assert "together" in run("--save", "coco,json")
    assert name in file_names()
    again = [json.loads(line) for line in run("--save", "coco,json", "--json", out=True).splitlines()]
    assert all(line["skipped"] and line["schema"] for line in again)


def test_a_dataset_that_another_run_wrote_meanwhile_does_not_count(run):
    run("--save", "coco")
    run("--save", "coco", images=("photos/a.png",))
    assert file_names() == ["a.png"]
    assert "together" in run("--save", "coco")
    assert len(file_names()) == len(PLACES)


def test_it_is_written_anew_when_photos_change_and_at_no_other_time(run):
    def stamp():
        return os.stat("out/coco.dataset.json").st_ino

    run("--save", "coco")
    before = stamp()
    assert "together" not in run("--save", "coco") and stamp() == before
    Path("photos/b.jpg").unlink()
    assert "together" in run("--save", "coco") and "b.jpg" not in file_names()
    Image.fromarray(draw_photo((40, 52), 9)).save("photos/a.png")
    before = stamp()
    assert "1 of 4 photos" in run("--save", "coco") and stamp() != before
    Path("out/coco.dataset.json").unlink()
    run("--save", "coco")
    assert len(file_names()) == 4
    before = stamp()
    assert "together" in run("--save", "coco", "--overwrite") and stamp() != before


def test_a_photo_that_fails_is_left_out(run):
    Path("photos/b.jpg").write_bytes(b"none")
    run("--save", "coco", code=1)
    assert file_names() == [place for place in sorted(PLACES) if place != "b.jpg"]


def test_an_answer_that_somebody_spoiled_is_told(run):
    run("--save", "coco")
    path = Path("out/a.coco.json")
    path.write_bytes(b" " * path.stat().st_size)
    Path("out/coco.dataset.json").unlink()
    assert "a.coco.json holds no answer" in run("--save", "coco", code=1)


def test_where_nothing_is_asked_for_nothing_is_written(run):
    assert "together" not in run("--save", "mask")
    assert not [dataset for dataset in DATASETS.values() if Path("out", dataset.file).exists()]
