"""Tallies against the plain sum of confusions, and the bootstrap on gains that are certain, absent, or luck."""

import math

import numpy as np
import pytest

from ovdeploy.calib.tune.noise import Tally, bootstrap_gain
from ovdeploy.runtime.evaluation.metrics import class_iou, mean_known


def tally(confusions, classes=3):
    made = Tally(classes)
    for counts in confusions:
        made.add(counts)
    return made


def draw(photos, rightness, seed=0, classes=3):
    """Confusions of photos of which a share of pixels is right."""
    rng = np.random.default_rng(seed)
    found = []
    for share in np.clip(rightness + rng.normal(0, 0.1, photos), 0, 1):
        truth = rng.integers(0, classes, 400)
        called = np.where(rng.random(400) < share, truth, rng.integers(0, classes, 400))
        found.append(np.bincount(truth * classes + called, minlength=classes**2).reshape(classes, classes))
    return found


def test_a_tally_is_the_sum_and_its_miou_that_of_the_evaluation():
    confusions = [*draw(5, 0.6), np.zeros((3, 3), np.int64)]
    total = np.sum(confusions, axis=0)
    np.testing.assert_array_equal(tally(confusions).counts(), total)
    assert tally(confusions).miou() == mean_known(class_iou(total))
    weights = np.array([2, 0, 1, 3, 0, 7])
    weighted = sum(int(weight) * counts for weight, counts in zip(weights, confusions, strict=True))
    np.testing.assert_array_equal(tally(confusions).counts(weights), weighted)


def test_nothing_has_no_miou():
    assert math.isnan(tally([]).miou()) and math.isnan(tally([np.zeros((3, 3), np.int64)]).miou())


def test_a_clear_gain_is_no_noise_and_the_interval_holds_it():
    gain = bootstrap_gain(tally(draw(40, 0.5)), tally(draw(40, 0.8)))
    assert gain.low < gain.gain < gain.high and not gain.is_noise
    assert gain.high - gain.low < gain.gain


def test_the_same_masks_gain_nothing():
    gain = bootstrap_gain(tally(draw(10, 0.5)), tally(draw(10, 0.5)))
    assert gain == (0, 0, 0) and gain.is_noise


def test_a_gain_on_one_of_many_photos_is_noise():
    before = draw(20, 0.5)
    after = [*before[:19], np.diag(before[19].sum(axis=1))]
    gain = bootstrap_gain(tally(before), tally(after))
    assert gain.gain > 0 and gain.is_noise  # the photo is missing from a third of the draws


@pytest.mark.parametrize("photos", [0, 1])
def test_of_fewer_than_two_photos_the_spread_is_unknown(photos):
    gain = bootstrap_gain(tally(draw(photos, 0.5)), tally(draw(photos, 0.9)))
    assert gain.is_noise and (gain.low, gain.high) == (-math.inf, math.inf)


def test_it_is_the_same_each_time_and_needs_the_same_photos():
    before, after = tally(draw(9, 0.5)), tally(draw(9, 0.6))
    assert bootstrap_gain(before, after) == bootstrap_gain(before, after)
    with pytest.raises(ValueError, match="9 photos before and 8 after"):
        bootstrap_gain(before, tally(draw(8, 0.6)))
