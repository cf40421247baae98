"""Average precision on photos whose answer can be counted by hand."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime.answers.components import find_instances
from ovdeploy.runtime.answers.instance import Instance
from ovdeploy.runtime.answers.rle import Rle
from ovdeploy.runtime.answers.visible import box_of
from ovdeploy.runtime.datasets import Thing
from ovdeploy.runtime.datasets.things import parts_of
from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.evaluation.precision import (
    COMPARED,
    Matches,
    _instances,
    _things,
    average_precision,
    comparable,
    matches,
    precision_of,
    precisions,
)

COCO = pytest.importorskip("pycocotools.coco").COCO
COCOeval = pytest.importorskip("pycocotools.cocoeval").COCOeval

CLASSES = (0, 1)
"""Cups and tables; 2 is neither."""


def drawn(*boxes, hw=(20, 30)):
    """[H, W]: boxes (class, x₀, y₀, x₁, y₁) on nothing."""
    labels = np.full(hw, 2, np.uint16)
    for number, x0, y0, x1, y1 in boxes:
        labels[y0:y1, x0:x1] = number
    return labels


def instances(*boxes, score=1.0, labels=None):
    labels = drawn(*boxes) if labels is None else labels
    found = find_instances(labels, np.full(labels.shape, score, np.float32), ("cup", "table", ""), background=False)
    return [each for each in found if each.class_index in CLASSES]


def things(*boxes):
    return parts_of(drawn(*boxes), CLASSES)


CUP, TABLE = (0, 0, 0, 10, 10), (1, 15, 5, 25, 15)


def test_what_is_there_has_a_precision_of_one():
    came = average_precision([instances(CUP, TABLE)], [things(CUP, TABLE)])
    assert came[:4] == pytest.approx((1, 1, 1, 1)), "all is small"
    assert math.isnan(came.medium) and math.isnan(came.large)


def test_nothing_found_is_nothing_and_nothing_there_is_no_number():
    assert average_precision([[]], [things(CUP)])[:3] == (0, 0, 0)
    assert all(math.isnan(value) for value in average_precision([instances(CUP)], [[]]))


def test_a_mistaken_class_costs_its_own_precision_alone():
    """The cup is found before the table that is called one, so that its precision stays 1; no table is found."""
    found = [[*instances(CUP), *instances((0, 15, 5, 25, 15), score=0.5)]]
    assert average_precision(found, [things(CUP, TABLE)]).ap50 == pytest.approx(0.5)


def test_an_iou_of_two_thirds_counts_at_a_half_and_not_at_three_quarters():
    came = average_precision([instances((0, 0, 0, 10, 8))], [things((0, 0, 0, 10, 12))])
    assert came.ap50 == pytest.approx(1) and came.ap75 == 0
    assert came.ap == pytest.approx(0.4)  # 0.5, 0.55, 0.6 and 0.65 of ten thresholds


@pytest.mark.parametrize("compared", ["masks", "boxes"])
def test_boxes_are_compared_where_masks_are_not_asked(compared):
    """A ring has the box of a square, and not its mask."""
    ring = drawn((0, 0, 0, 12, 12))
    ring[1:11, 1:11] = 2
    came = average_precision([instances(labels=ring)], [things((0, 0, 0, 12, 12))], compared=compared)
    assert came.ap50 == pytest.approx(0 if compared == "masks" else 1)


@dataclass(frozen=True)
class Seen(Instance):
    """With a detector's box."""

    detected_xyxy: tuple[float, float, float, float] = (0, 0, 0, 0)


def seen(instance, box):
    return Seen(**{**vars(instance), "detected_xyxy": box})


def test_a_detectors_box_is_measured_beside_that_of_the_mask():
    """The mask is right and the box is not, or the other way round; its edges lie between pixels."""
    right, wrong = instances(CUP)[0], instances((0, 0, 0, 10, 4))[0]
    for instance, box, wanted in ((right, (0, 0, 10, 4), (1, 1, 0)), (wrong, (0, 0, 10, 10), (0, 0, 1))):
        found = [[seen(instance, box)]]
        came = [average_precision(found, [things(CUP)], compared=kind).ap50 for kind in COMPARED]
        assert came == pytest.approx(wanted), box
    exact = average_precision([[seen(wrong, (0.0, 0.0, 10.0, 10.0))]], [things(CUP)], compared="detected")
    assert exact.ap == pytest.approx(1), "not a pixel larger"


def test_what_is_compared_must_be_there_and_known():
    with pytest.raises(ParameterError, match="detected_xyxy"):
        average_precision([instances(CUP)], [things(CUP)], compared="detected")
    with pytest.raises(ParameterError, match="mask"):
        average_precision([instances(CUP)], [things(CUP)], compared="mask")
    assert comparable(instances(CUP)) == ["masks", "boxes"] and comparable([]) == list(COMPARED)


@pytest.mark.parametrize("compared", ["masks", "boxes"])
def test_masks_of_another_size_than_those_that_are_there_are_refused(compared):
    found = instances(labels=drawn(CUP, hw=(21, 30)))
    with pytest.raises(ParameterError, match="30×20, 30×21"):
        average_precision([found], [things(CUP)], compared=compared)
    with pytest.raises(ParameterError, match="one size"):
        average_precision([[*instances(TABLE), *found]], [[]], compared=compared)


def test_what_is_found_in_a_crowd_counts_neither_way():
    crowd, table = things((0, 0, 0, 30, 10), TABLE)
    found = [*instances((0, 2, 2, 8, 8), score=0.9), *instances(TABLE)]
    came = average_precision([found], [[replace(crowd, crowd=True), table]])
    assert came.ap == pytest.approx(1), "of tables alone; no cup is there that counts"


def scattered(random, count):
    """Overlapping boxes of three classes and all of COCO's sizes, as things, and moved a little as instances."""
    hw, made, found = (160, 200), [], []
    for index in range(count):
        number, score = int(random.integers(3)), float(random.integers(1, 9)) / 8  # scores tie now and then
        size = random.choice([6, 40, 120], 2)
        x0, y0 = (int(random.integers(0, most - side + 1)) for most, side in zip(hw[::-1], size, strict=True))
        mask = np.zeros(hw, bool)
        mask[y0 : y0 + size[1], x0 : x0 + size[0]] = True
        made.append(Thing(number, mask, float(mask.sum()), (x0, y0, *map(float, size)), bool(random.random() < 0.1)))
        moved = np.roll(mask, random.integers(-2, 3, 2), (0, 1))
        if random.random() < 0.8:
            named = int(random.integers(3)) if random.random() < 0.2 else number
            corners = tuple(np.array([x0, y0, x0 + size[0], y0 + size[1]]) + random.normal(0, 2, 4))
            found.append(Seen(index + 1, named, "", box_of(moved), int(moved.sum()), score, Rle.encode(moved), corners))
    return found, made


def by_coco(photos, compared):
    """All six figures as pycocotools gives them for all photos together."""
    sides = []
    for rows in ([_instances(found, compared) for found, _ in photos], [_things(made) for _, made in photos]):
        side = COCO()
        annotations = [{**row, "image_id": index} for index, photo in enumerate(rows) for row in photo]
        side.dataset = {
            "images": [{"id": index, "height": 1, "width": 1} for index in range(len(photos))],
            "annotations": [{**row, "id": number + 1} for number, row in enumerate(annotations)],
            "categories": [{"id": number} for number in range(3)],
        }
        side.createIndex()
        sides.append(side)
    evaluation = COCOeval(sides[1], sides[0], "segm" if compared == "masks" else "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return tuple(evaluation.stats[:6])


@pytest.mark.parametrize("compared", ["masks", "boxes", "detected"])
def test_photo_by_photo_it_is_what_pycocotools_says_of_all(compared):
    random = np.random.default_rng(3)
    photos = [scattered(random, count) for count in (7, 0, 12, 1, 20)]
    found, made = zip(*photos, strict=True)
    expected = by_coco(photos, compared)
    assert 0.1 < expected[0] < 0.9, "neither all right nor all wrong"
    assert average_precision(found, made, compared=compared) == pytest.approx(expected, abs=1e-12)


def test_nothing_is_printed_and_nobody_else_is_silenced(capsys, monkeypatch):
    """While COCO computes, standard output stays where it was for other threads."""
    during, before = [], sys.stdout
    computed = COCOeval.computeIoU

    def watched(*given):
        during.append(sys.stdout)
        return computed(*given)

    monkeypatch.setattr(COCOeval, "computeIoU", watched)
    average_precision([instances(CUP)], [things(CUP)])
    assert during and all(each is before for each in during)
    assert capsys.readouterr().out == ""


def test_a_weight_counts_a_photo_so_often():
    random = np.random.default_rng(4)
    told = [matches(*scattered(random, count)) for count in (9, 14, 5)]
    again = [told[0], told[2], told[2], told[2]]
    weighted = precision_of(precisions(told, np.array([1, 0, 3])).values())
    assert weighted == pytest.approx(precision_of(precisions(again).values()), abs=1e-2), "ties come in another order"


def test_a_journal_keeps_what_matching_says():
    told = matches(*scattered(np.random.default_rng(5), 8))
    assert msgspec.json.decode(msgspec.json.encode(told), type=list[Matches]) == told
