"""J&F and IDF1: cases whose score is known, and both definitions computed plainly."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.evaluation.assignment import best_pairs
from ovdeploy.runtime.evaluation.tracks import (
    Identified,
    contour_score,
    followed,
    identified,
    region_score,
)

EXACT = 1e-12
"""Sums and shares of whole numbers, in another order."""


def square(top, left, side=8, hw=(40, 40)):
    mask = np.zeros(hw, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def plain_f(mask, truth, reach):
    """F by looking from every pixel of a contour at every pixel of the other."""
    spots = []
    for each in (mask, truth):
        h, w = each.shape
        own = []
        for y in range(h):
            for x in range(w):
                around = [(min(y + dy, h - 1), min(x + dx, w - 1)) for dy, dx in ((0, 1), (1, 0), (1, 1))]
                if any(each[there] != each[y, x] for there in around):
                    own.append((y, x))
        spots.append(own)
    ours, theirs = spots
    if not ours or not theirs:
        return float(not ours and not theirs)

    def met(one, other):
        return sum(any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in other) for y, x in one) / len(one)

    precision, recall = met(ours, theirs), met(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(max_examples=60, deadline=None)
@given(st.data(), array_shapes(min_dims=2, max_dims=2, max_side=12), st.sampled_from([0.0, 0.008, 0.1, 0.25]))
def test_scores_are_those_of_the_plain_definitions(data, shape, bound):
    mask, truth = (data.draw(arrays(bool, shape)) for _ in range(2))
    reach = math.ceil(bound * math.hypot(*shape))
    assert contour_score(mask, truth, bound) == pytest.approx(plain_f(mask, truth, reach), abs=EXACT)
    both = sum(a and b for a, b in zip(mask.flat, truth.flat, strict=True))
    either = sum(a or b for a, b in zip(mask.flat, truth.flat, strict=True))
    assert region_score(mask, truth) == (both / either if either else 1.0)


def test_a_contour_within_the_bound_is_right_and_one_beyond_is_wrong():
    hw = (300, 400)  # a diagonal of 500, so that the bound is 4 pixels
    truth = np.zeros(hw, bool)
    truth[:, :200] = True
    for shift, score in ((0, 1), (4, 1), (5, 0)):
        mask = np.zeros(hw, bool)
        mask[:, : 200 + shift] = True
        assert contour_score(mask, truth) == score


@pytest.mark.parametrize("inside", [1, 2, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_masks_of_numbers_are_masks_of_what_is_not_0(inside, dtype):
    mask, truth = square(4, 4), square(6, 6)
    told = mask.astype(dtype) * dtype(inside)
    for score in (region_score, contour_score):
        assert score(told, truth) == score(truth, told) == score(told, truth.astype(dtype)) == score(mask, truth) < 1
    for measure in (identified, followed):  # of a clip booleans are asked for: as numbers somebody may give logits
        with pytest.raises(ParameterError, match="compare them with 0"):
            measure([{1: told}], [{1: mask}])


def test_counts_of_clips_add_up():
    assert sum([Identified(1, 2, 3), Identified(10, 20, 30)]) == (11, 22, 33)
    with pytest.raises(TypeError):
        1 + Identified(1, 2, 3)


def test_nothing_rightly_said_is_right():
    nothing, something = np.zeros((40, 40), bool), square(4, 4)
    assert region_score(nothing, nothing) == contour_score(nothing, nothing) == 1
    assert region_score(nothing, something) == contour_score(something, nothing) == 0


def test_means_are_over_frames_and_a_thing_left_out_counts_as_empty():
    truth = [{1: square(4, 4)}, {1: square(4, 4)}, {}]
    scores = followed([{1: square(4, 4)}, {}, {}], truth)
    assert scores[1].region == scores[1].contour == scores[1].both == pytest.approx(2 / 3)
    assert followed([{}], [{}]) == {}


@settings(max_examples=150, deadline=None)
@given(arrays(np.int64, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=st.integers(-9, 9)))
def test_pairs_are_worth_what_the_best_of_all_are(worth):
    pairs = best_pairs(worth)
    rows, columns = ([pair[side] for pair in pairs] for side in (0, 1))
    assert len(set(rows)) == len(set(columns)) == len(pairs) == min(worth.shape)
    table = worth if worth.shape[0] <= worth.shape[1] else worth.T
    best = max(
        sum(table[row, column] for row, column in enumerate(chosen))
        for chosen in permutations(range(table.shape[1]), table.shape[0])
    )
    assert sum(worth[pair] for pair in pairs) == best


def test_large_tables_have_scipys_worth():
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for shape in ((60, 60), (30, 80), (80, 30)):
        worth = rng.random(shape)
        rows, columns = optimize.linear_sum_assignment(worth, maximize=True)
        assert sum(worth[pair] for pair in best_pairs(worth)) == pytest.approx(worth[rows, columns].sum(), abs=1e-9)


PLACES = {1: square(2, 2), 2: square(20, 20), 3: square(2, 25)}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.dictionaries(st.integers(1, 3), st.integers(1, 4), max_size=3)), min_size=1, max_size=6))
def test_idf1_is_that_of_the_best_pairing_of_all(frames):
    """Each frame tells by which name every thing that is there was called; some are called the same, the last wins."""
    truths = [{thing: PLACES[thing] for thing in named} for (named,) in frames]
    answers = [{called: PLACES[thing] for thing, called in named.items()} for (named,) in frames]
    best = 0
    for chosen in permutations([1, 2, 3, 4, None], 3):
        pairs = dict(zip((1, 2, 3), chosen, strict=True))
        agreed = 0
        for answer, truth in zip(answers, truths, strict=True):
            agreed += sum(pairs[t] in answer and region_score(answer[pairs[t]], truth[t]) >= 0.5 for t in truth)
        best = max(best, agreed)
    found = identified(answers, truths)
    assert found == Identified(best, sum(map(len, answers)), sum(map(len, truths)))


def test_a_swap_half_way_costs_half():
    first, second = square(2, 2), square(20, 20)
    truths = [{1: first, 2: second}] * 10
    answers = [{7: first, 8: second}] * 5 + [{8: first, 7: second}] * 5
    assert identified(answers, truths).f1 == 0.5
    assert identified([{7: first, 8: second}] * 10, truths).f1 == 1
    assert identified([{}] * 10, truths).f1 == 0
    assert math.isnan(identified([{}], [{}]).f1)


def test_masks_that_are_half_right_agree_and_empty_ones_are_not_there():
    wide, half = square(2, 2, 8), square(2, 2, 8)
    half[2:6] = False  # 32 of 64 pixels
    less = half.copy()
    less[6, 2] = False
    assert identified([{1: half}], [{5: wide}]).agreed == 1
    assert identified([{1: less}], [{5: wide}]).agreed == 0
    assert identified([{1: half & False}], [{5: wide}]) == Identified(0, 0, 1)


def test_counts_add_up_over_clips_and_each_keeps_its_own_pairs():
    there = [{1: square(2, 2)}]
    total = identified([{3: square(2, 2)}], there) + identified([{4: square(2, 2)}], there)
    assert total == Identified(2, 2, 2) and total.f1 == 1


@pytest.mark.parametrize("measure", [followed, identified])
def test_what_cannot_be_compared_is_told(measure):
    one, other = np.ones((4, 4), bool), np.ones((4, 5), bool)
    for answers, truths in (
        ([{1: one}], []),
        ([{1: one}], [{1: other}]),
        ([{1: one[0]}], [{}]),
        ([{1: one * 1}], [{}]),
    ):
        with pytest.raises(ParameterError, match="expected"):
            measure(answers, truths)
    with pytest.raises(ParameterError, match="least_iou"):
        identified([], [], least_iou=0.0)
