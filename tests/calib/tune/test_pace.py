"""Pace: what is tried, how it is measured, and which of it serves a goal."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress

from ovdeploy.calib.tune import pace, pacing
from ovdeploy.calib.tune.fit import split
from ovdeploy.calib.tune.goal import Cheapest, Within
from ovdeploy.calib.tune.noise import Tally
from ovdeploy.calib.tune.pace import Candidate, candidates, judge, run
from ovdeploy.runtime.datasets import Sample
from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.recipe.parameters import Parameters


def candidate(ms, right, refine=True, dropped=False):
    """One that labels so many of 100 pixels of each of two classes rightly."""
    tally = Tally(2)
    tally.add(np.array([[right, 100 - right], [100 - right, right]]))
    return Candidate({"short_side": 448, "stride": 224, "refine": refine}, tally, [ms], dropped)


# ---- what is tried


@given(st.integers(1, 600), st.integers(1, 600), st.integers(1, 600), st.booleans(), st.integers(1, 40))
def test_candidates_begin_with_the_settings_in_force_are_distinct_and_fit_the_window(side, crop, stride, refine, most):
    stride = min(stride, crop)
    points = candidates(Parameters(short_side=side, crop=crop, stride=stride, refine=refine), most)
    assert points[0] == {"short_side": side, "stride": stride, "refine": refine}
    assert 1 <= len(points) <= most and len({tuple(point.values()) for point in points}) == len(points)
    for point in points:
        assert 1 <= point["stride"] <= crop
        assert point["short_side"] >= crop or point["short_side"] == side  # smaller ones are enlarged to a window
        assert refine or not point["refine"]  # no recipe gets a decoder that it may not have


# ---- how it is measured


class Encoder:
    """A segmenter whose encoding takes 20 ms, ten times as long of a photo that is not black; what refinement needs of
    it 10 more, at once or when it is missed; refinement 20. It says class 1 everywhere if refined."""

    def __init__(self):
        self.encoded, self.now = [], 0.0
        self.parameters, self.SIZE = Parameters(), "short_side"

    def clock(self):
        return self.now

    def encode(self, photo, parameters):
        self.encoded.append(dict(parameters))
        self.now += (0.2 if photo.any() else 0.02) + 0.01 * parameters["refine"]
        return SimpleNamespace(segment=partial(self.segment, parameters["refine"]))

    def segment(self, ready, vocabulary, parameters):
        self.now += parameters["refine"] * (0.02 if ready else 0.03)
        return SimpleNamespace(mask=np.full((2, 2), int(parameters["refine"])))


WORDS = SimpleNamespace(given=lambda sample: None)
POINTS = [{"short_side": 448, "stride": 224, "refine": refine} for refine in (True, False)]


def samples(count):
    return [Sample(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.uint16), None) for _ in range(count)]


def test_candidates_that_differ_in_refinement_alone_share_a_photos_encoding_and_its_time():
    encoder = Encoder()
    refined, coarse = run(encoder, samples(3), WORDS, POINTS, 2, clock=encoder.clock)
    assert len(encoder.encoded) == 3
    assert coarse.times == pytest.approx([20] * 3) and refined.times == pytest.approx([50] * 3)
    assert refined.miou == 1 and coarse.miou == 0


def test_hopeless_candidates_are_given_up_and_the_first_never():
    points = [*POINTS, {"short_side": 300, "stride": 224, "refine": True}]
    encoder = Encoder()
    first, coarse, other = run(encoder, samples(3), WORDS, points, 2, budget=30, clock=encoder.clock)
    assert len(first.times) == 3 and not first.dropped
    assert len(coarse.times) == 3  # 20 ms
    assert len(other.times) == 1 and other.dropped and np.isnan(other.miou)


def test_what_refines_alone_is_encoded_for_it_at_once():
    encoder = Encoder()
    (refined,) = run(encoder, samples(1), WORDS, POINTS[:1], 2, clock=encoder.clock)
    assert encoder.encoded[0]["refine"] and refined.times == pytest.approx([50])


def test_a_photo_held_out_that_is_slow_gives_up_none_of_those_that_are_judged(monkeypatch):
    encoder, names = Encoder(), [str(number) for number in range(8)]
    _, held_out = split(names, 0.5)

    def read(name):
        return replace(samples(1)[0], photo=np.full((2, 2, 3), name == held_out[0], np.uint8))

    monkeypatch.setattr(pacing, "run", partial(run, clock=encoder.clock))
    monkeypatch.setattr(pacing, "paced", lambda segmenter: segmenter)
    dataset = SimpleNamespace(names=names, classes=("a", "b"), read=read)
    found = pacing.find_pace(encoder, dataset, WORDS, Within(30), Progress(disable=True), share=0.5, trials=2)
    assert not found.found.values["refine"] and found.checked.photos == len(held_out) > 1
    assert found.checked.after.ms == pytest.approx(20), "the median"


def test_photos_that_cannot_be_read_are_told_and_left_out():
    def read(name):
        if name == "bad":
            raise pace.DatasetError("no labels")
        return name

    failed = {}
    assert list(pace.readable(SimpleNamespace(read=read), ["a", "bad", "b"], failed)) == ["a", "b"]
    assert failed == {"bad": "no labels"}


# ---- which serves a goal


def test_within_a_budget_the_best_is_taken():
    tried = [candidate(900, 95), candidate(80, 70), candidate(100, 80), candidate(101, 90)]
    assert Within(100).choose(tried) is tried[2]


def test_of_equally_good_ones_the_settings_in_force_stay_or_else_the_fastest_is_taken():
    tried = [candidate(90, 80), candidate(50, 80), candidate(40, 80)]
    assert Within(100).choose(tried) is tried[0]
    assert Within(60).choose(tried) is tried[2]


def test_a_budget_that_nothing_keeps_is_refused_with_the_fastest():
    with pytest.raises(ParameterError, match=r"at most 10 ms.*refine=false, takes 40"):
        Within(10).choose([candidate(90, 80), candidate(40, 70, refine=False), candidate(50, 70)])


def test_one_that_was_given_up_is_never_within_a_budget():
    tried = [candidate(20, 60), candidate(9, 99, dropped=True)]
    assert Within(100).choose(tried) is tried[0]


def test_within_a_loss_the_fastest_is_taken():
    tried = [candidate(100, 95), candidate(60, 94), candidate(30, 90), candidate(200, 99)]
    # mIoU of k right of 100 is k / (200 − k): 90.48, 88.68, 81.82
    assert Cheapest(2.0).choose(tried) is tried[1]
    assert Cheapest(10.0).choose(tried) is tried[2]
    assert Cheapest(0.0).choose(tried) is tried[0]


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 100)), min_size=1, max_size=8), st.floats(0, 100))
def test_a_choice_is_never_slower_than_what_held_and_never_loses_more_than_allowed(pairs, loss):
    tried = [candidate(*pair) for pair in pairs]
    chosen = Cheapest(loss).choose(tried)
    assert chosen.ms <= tried[0].ms and chosen.miou >= tried[0].miou - loss / 100


@pytest.mark.parametrize(
    ("goal", "before", "after", "stands"),
    [
        (Within(100), (90, 80), (90, 81), True),
        (Within(100), (90, 80), (90, 79), False),
        (Within(100), (110, 80), (90, 70), True),  # what held took too long
        (Within(100), (110, 80), (101, 90), False),
        (Cheapest(3.0), (90, 95), (50, 94), True),
        (Cheapest(1.0), (90, 95), (50, 94), False),
        (Cheapest(3.0), (50, 95), (90, 94), False),
    ],
)
def test_photos_held_out_decide(goal, before, after, stands):
    assert goal.stands(judge(candidate(*before), candidate(*after))) is stands
