"""COCO's annotations as labelled photos: masks, classes, labels, and files that do not fit together."""

import json

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime import DatasetError
from ovdeploy.runtime.answers.rle import Rle
from ovdeploy.runtime.datasets import IGNORED
from ovdeploy.runtime.evaluation.coco import CocoDataset

pytest.importorskip("pycocotools")
HW = (20, 30)
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]


def rle(x0, y0, x1, y1, hw=HW):
    mask = np.zeros(hw, bool)
    mask[y0:y1, x0:x1] = True
    return Rle.encode(mask).to_coco()


def document():
    """A square cup by a polygon, a spoon on it by run lengths, and a crowd of cups to the right."""
    of = {"image_id": 7, "iscrowd": 0}
    return {
        "images": [{"id": 7, "file_name": "one.png", "height": 20, "width": 30}, {"id": 8, "file_name": "two.png"}],
        "categories": [{"id": 40, "name": "spoon"}, {"id": 3, "name": "cup"}],
        "annotations": [
            {**of, "id": 1, "category_id": 40, "segmentation": rle(4, 5, 8, 9), "bbox": [4, 5, 4, 4], "area": 16},
            {**of, "id": 2, "category_id": 3, "segmentation": [SQUARE], "bbox": [2, 3, 10, 10], "area": 100},
            {**of, "id": 3, "category_id": 3, "segmentation": rle(10, 0, 30, 20), "iscrowd": 1},
        ],
    }


@pytest.fixture
def opened(tmp_path):
    def opened(told, **how):
        for name in ("one.png", "two.png"):
            Image.new("RGB", HW[::-1]).save(tmp_path / name)
        (tmp_path / "told.json").write_text(told if isinstance(told, str) else json.dumps(told))
        return CocoDataset(tmp_path / "told.json", tmp_path, **how)

    return opened


def test_things_and_labels_are_those_that_the_file_tells(opened):
    dataset = opened(document())
    assert dataset.classes == ("background", "cup", "spoon") and dataset.names == ["one.png", "two.png"]
    sample = dataset.read("one.png")
    assert [each.class_index for each in sample.things] == [2, 1, 1]
    assert [each.crowd for each in sample.things] == [False, False, True]
    assert [int(each.mask.sum()) for each in sample.things] == [16, 100, 400]
    assert sample.things[2].box_xywh == (10, 0, 20, 20), "of the mask, where the file has none"
    assert sample.labels[6, 6] == 2 and sample.labels[4, 3] == 1 and sample.labels[0, 0] == 0
    assert sample.labels[0, 25] == IGNORED and sample.labels[5, 11] == 1, "a crowd hides no thing"


def test_a_photo_without_annotations_is_background(opened):
    sample = opened(document()).read("two.png")
    assert sample.things == () and not sample.labels.any()


def test_so_many_photos_and_no_more(opened):
    assert opened(document(), photos=1).names == ["one.png"]


@pytest.mark.parametrize(
    ("where", "key", "value", "told"),
    [
        ("images", "file_name", "../one.png", "outside"),
        ("images", "file_name", "/etc/one.png", "outside"),
        ("images", "file_name", "two.png", "the same"),
        ("images", "id", 8, "the same"),
        ("images", "id", 9, "not in the file"),
        ("categories", "id", 3, "the same"),
        ("categories", "name", "cup", "categories' names"),
        ("categories", "name", "background", "categories' names"),
        ("categories", "id", 41, "not in the file"),
        ("annotations", "image_id", "x", "COCO's form"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(opened, where, key, value, told):
    wrong = document()
    wrong[where][0][key] = value
    with pytest.raises(DatasetError, match=told):
        opened(wrong)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": [], "annotations": [], "categories": []}'])
def test_what_is_no_such_file_is_refused(opened, content):
    with pytest.raises(DatasetError):
        opened(content)


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [["a"] * 6],
        rle(0, 0, 1, 1, (5, 5)),
        {"size": [20, 30], "counts": "oo"},
    ],
)
def test_a_damaged_mask_is_its_photos_error(opened, segmentation):
    wrong = document()
    wrong["annotations"][1]["segmentation"] = segmentation
    with pytest.raises(DatasetError, match=r"one\.png: an annotation"):
        opened(wrong).read("one.png")
