"""COCO's instance and panoptic forms, read by pycocotools and by the format's own rules."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.mask import decode

from ovdeploy.runtime import Instance, ParameterError, Rle
from ovdeploy.runtime.answers import Subject, join_coco, save_as
from ovdeploy.runtime.answers.coco import coco
from ovdeploy.runtime.answers.panoptic import panoptic
from support.answers import random_result, result_of

MASKS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 3))


def opened(document, tmp_path, capsys):
    (tmp_path / "coco.json").write_text(json.dumps(document))
    dataset = COCO(str(tmp_path / "coco.json"))
    capsys.readouterr()
    return dataset


def labels_of(dataset, image):
    """The mask that the annotations of an image make, 0 where there is none, else the category."""
    told = dataset.loadImgs([image])[0]
    mask = np.zeros((told["height"], told["width"]), int)
    for annotation in dataset.loadAnns(dataset.getAnnIds([image])):
        inside = dataset.annToMask(annotation).astype(bool)
        assert not mask[inside].any() and inside.sum() == annotation["area"]
        mask[inside] = annotation["category_id"]
    return mask


def test_pycocotools_reads_the_mask_again(tmp_path, capsys):
    for background in (False, True):
        result = random_result((40, 55), 5, background=background)
        dataset = opened(result.to_coco(), tmp_path, capsys)
        expected = np.where(background & (result.mask == 0), 0, result.mask + 1)
        np.testing.assert_array_equal(labels_of(dataset, 1), expected)
        assert [told["name"] for told in dataset.dataset["categories"]] == list(result.names[int(background) :])


def test_many_photos_are_joined_with_ids_of_their_own(tmp_path, capsys):
    results = [
        random_result((9, 14), 3, path="photos/a/one.png", bundle="d1"),
        random_result((12, 8), 4, path="photos/b/one.png", bundle="d1", names=("x", "class 1", "y", "class 0")),
        random_result((5, 5), 3, path="photos/b/two.png", bundle="d1"),
    ]
    joined = join_coco((result.to_coco() for result in results), root="photos")
    dataset = opened(joined, tmp_path, capsys)
    assert [told["file_name"] for told in joined["images"]] == ["a/one.png", "b/one.png", "b/two.png"]
    assert joined["info"]["bundle"] == "d1"
    assert sorted(told["id"] for told in joined["annotations"]) == list(range(1, len(joined["annotations"]) + 1))
    names = {told["id"]: told["name"] for told in joined["categories"]}
    assert len(set(names.values())) == len(names) == 5
    for number, result in enumerate(results, 1):
        read = labels_of(dataset, number)
        assert all(names[read[place]] == result.names[result.mask[place]] for place in np.ndindex(read.shape))
    assert join_coco([joined])["annotations"] == joined["annotations"]  # what is joined can be joined again
    assert join_coco([])["images"] == []


def test_a_photo_outside_the_root_and_what_is_no_document_are_refused():
    document = random_result(path="photos/a.png").to_coco()
    with pytest.raises(ParameterError, match="does not lie in"):
        join_coco([document], root="elsewhere")
    for broken in ({}, {**document, "images": [3]}, {**document, "categories": []}, {**document, "annotations": None}):
        with pytest.raises(ParameterError):
            join_coco([broken])


def read_panoptic(found):
    """The category of every pixel, by the format's own rules."""
    ids = (found.ids.astype(int) * (1, 256, 65536)).sum(axis=2)
    (annotation,) = found.document["annotations"]
    categories = np.zeros(ids.shape, int)
    assert set(np.unique(ids)) - {0} == {told["id"] for told in annotation["segments_info"]}
    for told in annotation["segments_info"]:
        inside = ids == told["id"]
        y, x = np.nonzero(inside)
        assert told["area"] == inside.sum()
        assert told["bbox"] == [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
        categories[inside] = told["category_id"]
    return ids, categories


@settings(max_examples=150, deadline=None)
@given(mask=MASKS, background=st.booleans(), stuff=st.sampled_from([(), ("class 1",), ("class 1", "class 3")]))
def test_the_panoptic_form_gives_the_mask_again(mask, background, stuff):
    result = result_of(mask, 4, background=background)
    found = result.to_panoptic(stuff=stuff)
    ids, categories = read_panoptic(found)
    np.testing.assert_array_equal(categories, np.where(background & (mask == 0), 0, mask + 1))
    for name in stuff:
        assert len(np.unique(ids[mask == result.names.index(name)])) <= 1
    things = {told["name"]: told["isthing"] for told in found.document["categories"]}
    assert all(things[name] == (name not in stuff) for name in things)


def test_a_thousand_masks_are_the_same_in_both_forms_and_to_pycocotools():
    rng = np.random.default_rng(3)
    for _ in range(1000):
        hw, classes = tuple(rng.integers(1, 40, 2)), int(rng.integers(1, 6))
        coarse = rng.integers(0, classes, (hw[0] // 5 + 1, hw[1] // 5 + 1)).repeat(5, 0).repeat(5, 1)[: hw[0], : hw[1]]
        mask = np.where(rng.random(hw) < rng.choice([0, 0.05, 0.5]), rng.integers(0, classes, hw), coarse)
        result = result_of(mask, classes)
        _, categories = read_panoptic(result.to_panoptic())
        again = np.zeros(hw, int)
        for told in result.to_coco()["annotations"]:
            again[decode(told["segmentation"]).astype(bool)] += told["category_id"]  # no pixel is in two
        np.testing.assert_array_equal(again, mask + 1)
        np.testing.assert_array_equal(categories, mask + 1)


def test_65_000_segments_have_ids_of_three_bytes():
    mask = np.arange(65_000, dtype=np.uint16).reshape(250, 260)
    found = result_of(mask).to_panoptic()
    ids = (found.ids.astype(int) * (1, 256, 65536)).sum(axis=2)
    np.testing.assert_array_equal(ids, mask + 1)
    assert [told["category_id"] for told in found.document["annotations"][0]["segments_info"]] == list(range(1, 65_001))


def test_the_picture_of_ids_is_read_as_it_is_said(tmp_path):
    result = random_result((30, 40), 5)
    document, picture = save_as(result, ["panoptic"], tmp_path / "a")
    told = json.loads(document.read_text())
    assert told["annotations"][0]["file_name"] == picture.name == "a.panoptic.png"
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), result.to_panoptic().ids)


def test_small_instances_can_be_left_out():
    result = random_result((30, 40), 5)
    assert all(told["area"] >= 9 for told in result.to_coco(min_area=9)["annotations"])
    kept = sum(instance.area for instance in result.instances(min_area=9))
    assert (result.to_panoptic(min_area=9).ids.any(axis=2)).sum() == kept > 0


def overlapping():
    """Two squares that overlap, without any mask of classes."""
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:4, 1:5], masks[1, 2:6, 3:8] = True, True
    boxes = [(1, 1, 4, 3), (3, 2, 7, 5)]
    return Subject((6, 8), ("a", "b")), [
        Instance(number + 1, number, "ab"[number], box, int(mask.sum()), 0.5 + number / 4, Rle.encode(mask))
        for number, (mask, box) in enumerate(zip(masks, boxes, strict=True))
    ]


def test_instances_without_a_mask_of_classes_may_overlap():
    subject, instances = overlapping()
    assert [told["area"] for told in coco(subject, instances)["annotations"]] == [12, 20]
    ids, categories = read_panoptic(panoptic(subject, instances, "ids.png"))
    assert (ids == 2).sum() == 20 and (ids == 1).sum() == 8  # the one of the larger score lies on top
    assert set(np.unique(categories)) == {0, 1, 2}


def test_a_class_that_is_none_is_answered():
    with pytest.raises(ParameterError, match="class 1"):
        random_result().to_panoptic(stuff=["class1"])
