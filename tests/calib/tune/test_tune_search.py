"""The search on functions whose best point is known; its budget, its ties, its determinism."""

import math

import pytest

from ovdeploy.calib.tune.axes import AXES
from ovdeploy.calib.tune.search import MIN_GAIN, Search

START = {
    "probability_threshold": 0.0,
    "logit_scale": 40.0,
    "region_threshold": 0.2,
    "iou_threshold": 0.8,
    "min_area": 225,
}


PIXELS = [axis for axis in AXES if axis.name in START]
"""Axes of masks; those of things have parameters of their own."""


def smooth(point):
    """Highest at 0.33, 57, 0.47, 0.62 and 450, with an interplay of two axes."""
    gaps = [
        point["probability_threshold"] - 0.33,
        math.log(point["logit_scale"] / 57) / 3,
        point["region_threshold"] - 0.47,
        point["iou_threshold"] - 0.62,
        math.log((point["min_area"] + 1) / 451) / 5,
    ]
    return 0.9 - sum(gap * gap for gap in gaps) - 0.5 * gaps[0] * gaps[1]


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, []

    def __call__(self, points, stage):
        self.calls += [(stage, tuple(sorted(point.items()))) for point in points]
        return [self.function(point) for point in points]


def searched(function, budget=80, axes=PIXELS, start=START):
    evaluate = Counted(function)
    search = Search(axes, evaluate, budget)
    return search, search.descend(start, "refined", axes), evaluate


def test_it_comes_near_the_best_of_a_smooth_function():
    search, best, _ = searched(smooth)
    assert smooth(START) < 0.64 < 0.895 < smooth(best)  # within half a point of 0.9
    assert search.score([best], "refined") == [smooth(best)]


@pytest.mark.parametrize("budget", [1, 2, 7, 20, 80, 1000])
def test_it_tries_no_more_than_it_may_and_nothing_twice(budget):
    search, best, evaluate = searched(smooth, budget)
    assert len(evaluate.calls) == len(set(evaluate.calls)) == len(search.trials) <= budget
    assert search.exhausted == (len(search.trials) == budget)
    assert smooth(best) == max(trial.score for trial in search.trials) or budget > 7  # within MIN_GAIN of it
    assert smooth(best) >= max(trial.score for trial in search.trials) - MIN_GAIN
    assert all(set(trial.values) == set(START) for trial in search.trials)


def test_it_is_the_same_each_time():
    assert searched(smooth)[0].trials == searched(smooth)[0].trials


@pytest.mark.parametrize("function", [lambda point: 0.5, lambda point: 0.5 + MIN_GAIN / 2 * (point != START)])
def test_where_nothing_is_gained_the_start_stays(function):
    search, best, _ = searched(function)
    assert best == START and not search.exhausted


def test_nan_beats_nothing():
    assert searched(lambda point: 0.5 if point == START else math.nan)[1] == START


def test_of_equal_values_the_first_is_taken():
    axes = [axis for axis in AXES if axis.name == "region_threshold"]
    found = searched(
        lambda point: 1.0 if point["region_threshold"] > 0.2 else 0.0, axes=axes, start={"region_threshold": 0.2}
    )
    assert found[1] == {"region_threshold": 0.3}


def test_a_stage_after_another_begins_near_the_best():
    evaluate = Counted(smooth)
    search = Search(PIXELS, evaluate, 200)
    coarse = [axis for axis in PIXELS if axis.coarse]
    start = search.descend(START, "coarse", coarse)
    assert {trial.stage for trial in search.trials} == {"coarse"}
    assert all(trial.values["min_area"] == 225 for trial in search.trials)
    search.descend(start, "refined", PIXELS)
    values = {t.values["probability_threshold"] for t in search.trials if t.stage == "refined"}
    assert len(values) > 1 and values.isdisjoint({0.0, 0.1, 0.6, 0.8}), "near 0.33, and not the grid again"
