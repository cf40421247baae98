"""The F1 of single things: against counts by hand, and things in a record."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ovdeploy.calib.tune.noise import bootstrap_gain
from ovdeploy.calib.tune.things import packed, unpacked
from ovdeploy.calib.tune.yardsticks import OfThings
from ovdeploy.runtime.answers.instance import Instance
from ovdeploy.runtime.answers.rle import Rle
from ovdeploy.runtime.datasets.sample import Thing

HW = (8, 30)


def mask(first, last):
    made = np.zeros(HW, bool)
    made[:, first:last] = True
    return made


def thing(first, last, number=1, crowd=False):
    return Thing(number, mask(first, last), 8.0 * (last - first), (first, 0, last - first, 8), crowd)


def instance(first, last, score, number=1):
    own = mask(first, last)
    return Instance(1, number, "cup", (first, 0, last - 1, 7), int(own.sum()), score, Rle.encode(own))


class Planted:
    """A replay of things that are made up, by photo."""

    def __init__(self, **photos):
        self.photos = photos

    def things(self, name, points):
        there, found = self.photos[name]
        return there, [tuple(each for each in found if each.score > point["box_threshold"]) for point in points]


def tallied(photos, threshold=0.0):
    yardstick = OfThings(Planted(**photos))
    tally = yardstick.tally()
    for name in photos:
        (told,) = yardstick.compare(name, [{"box_threshold": threshold}], (yardstick.kind,))
        tally.add(told[yardstick.kind])
    return tally


TWO = {
    "a": ((thing(0, 10), thing(20, 30, 2)), (instance(0, 9, 0.9), instance(0, 10, 0.5), instance(12, 16, 0.4))),
    "b": ((thing(0, 10),), (instance(8, 18, 0.8), instance(0, 10, 0.3, number=3))),
}
"""Right: the first alone, since each thing is found once. Wrong: a second, one beside, one with an IoU of 1/9. Nothing
is there of class 3, which counts neither way. Three are there."""


def test_f1_counts_what_is_right_wrong_and_missed():
    pytest.importorskip("pycocotools")
    tally = tallied(TWO)
    assert tally.photos == 2 and tally.counts() == (1, 3, 3)
    assert tally.figures() == {"F1": pytest.approx(2 / 7), "precision": 0.25, "recall": pytest.approx(1 / 3)}
    assert tally.figure(np.array([2, 0])) == pytest.approx(4 / 10)
    assert tallied(TWO, threshold=0.85).figure() == pytest.approx(2 / 4), "a threshold that drops what is wrong helps"


def test_what_is_found_in_a_crowd_counts_neither_way():
    pytest.importorskip("pycocotools")
    photo = ((thing(0, 10), thing(12, 30, crowd=True)), (instance(0, 10, 0.9), instance(14, 20, 0.8)))
    assert tallied({"a": photo}).counts() == (1, 0, 1)


def test_where_nothing_is_there_f1_is_not_defined_and_where_nothing_is_found_it_is_0():
    pytest.importorskip("pycocotools")
    assert math.isnan(tallied({"a": ((), (instance(0, 10, 0.9),))}).figure())
    assert tallied({"a": ((thing(0, 10),), ())}).figure() == 0
    assert math.isnan(tallied({"a": ((thing(0, 10),), ())}).figures()["precision"])


def test_a_gain_on_every_photo_is_no_noise():
    pytest.importorskip("pycocotools")
    photos = {f"p{index}": TWO["a"] for index in range(8)}
    gain = bootstrap_gain(tallied(photos), tallied(photos, threshold=0.85))
    assert gain.gain == pytest.approx(gain.low) == pytest.approx(2 / 3 - 2 / 5) and not gain.is_noise


@pytest.mark.parametrize("things", [(), (thing(0, 10), thing(3, 30, 2, crowd=True))])
def test_things_come_back_from_a_record(things):
    back = unpacked(packed(things, HW), HW)
    assert len(back) == len(things)
    for one, other in zip(back, things, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert (one.class_index, one.area, one.box_xywh, one.crowd) == (
            other.class_index, other.area, other.box_xywh, other.crowd
        )  # fmt: skip
