"""Average precision on photos whose answer can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ovdeploy.runtime.answers.components import find_instances
from ovdeploy.runtime.evaluation.precision import average_precision

pytest.importorskip("pycocotools")

NAMES = ("cup", "table")


def instances(*boxes, score=1.0, hw=(20, 30)):
    """Boxes (class, x₀, y₀, x₁, y₁), apart from each other, as instances."""
    mask = np.full(hw, 2, np.uint16)
    for number, x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = number
    found = find_instances(mask, np.full(hw, score, np.float32), (*NAMES, ""), background=False)
    return [each for each in found if each.class_index < 2]


CUP, TABLE = (0, 0, 0, 10, 10), (1, 15, 5, 25, 15)


def test_what_is_there_has_a_precision_of_one():
    there = [instances(CUP, TABLE)]
    assert average_precision(there, there) == pytest.approx((1, 1, 1))


def test_nothing_found_is_nothing_and_nothing_there_is_no_number():
    assert average_precision([[]], [instances(CUP)]) == (0, 0, 0)
    assert all(math.isnan(value) for value in average_precision([instances(CUP)], [[]]))


def test_a_mistaken_class_costs_its_own_precision_alone():
    """The cup is found before the table that is called one, so that its precision stays 1; no table is found."""
    found = [[*instances(CUP), *instances((0, 15, 5, 25, 15), score=0.5)]]
    assert average_precision(found, [instances(CUP, TABLE)]).ap50 == pytest.approx(0.5)


def test_an_iou_of_two_thirds_counts_at_a_half_and_not_at_three_quarters():
    came = average_precision([instances((0, 0, 0, 10, 8), hw=(20, 30))], [instances((0, 0, 0, 10, 12))])
    assert came.ap50 == pytest.approx(1) and came.ap75 == 0
    assert came.ap == pytest.approx(0.4)  # 0.5, 0.55, 0.6 and 0.65 of ten thresholds


@pytest.mark.parametrize("masks", [True, False])
def test_boxes_are_compared_where_masks_are_not_asked(masks):
    """A ring has the box of a square, and not its mask."""
    ring = np.full((20, 30), 2, np.uint16)
    ring[0:12, 0:12], ring[1:11, 1:11] = 0, 2
    found = find_instances(ring, np.ones((20, 30), np.float32), (*NAMES, ""), background=False)
    found = [[each for each in found if each.class_index == 0]]
    assert average_precision(found, [instances((0, 0, 0, 12, 12))], masks=masks).ap50 == pytest.approx(
        0 if masks else 1
    )
