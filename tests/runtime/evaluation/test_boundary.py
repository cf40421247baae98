"""The boundary F-score: shapes whose score is known, and the definition computed plainly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ovdeploy.runtime.datasets import IGNORED
from ovdeploy.runtime.evaluation.boundary import TOLERANCE, boundaries, boundary_scores


def halves(at, hw=(300, 400)):
    """Class 0 left of a column, class 1 from it on. The diagonal of 300×400 is 500, so that θ is 3.75 pixels."""
    labels = np.zeros(hw, np.uint16)
    labels[:, at:] = 1
    return labels


def square(centre, side=80, hw=(300, 400)):
    labels = np.zeros(hw, np.uint16)
    y, x = (c - side // 2 for c in centre)
    labels[y : y + side, x : x + side] = 1
    return labels


def test_the_boundary_of_halves_is_a_column_on_either_side():
    edges = boundaries(halves(5, (4, 9)))
    assert edges.tolist() == [[*[IGNORED] * 4, 0, 1, *[IGNORED] * 3]] * 4


def test_ignored_pixels_make_no_boundary():
    labels = halves(5, (4, 9))
    labels[:, 5] = IGNORED
    assert (boundaries(labels) == IGNORED).all()


@pytest.mark.parametrize("shift", range(6))
def test_a_shift_within_the_tolerance_costs_nothing_and_one_beyond_everything(shift):
    expected = 1.0 if shift < 3.75 else 0.0
    assert boundary_scores(halves(200), halves(200 + shift)) == {0: expected, 1: expected}


def test_a_distance_of_the_tolerance_itself_is_no_match():
    """300×400 and a share of 0.006: θ = 3 pixels exactly."""
    assert boundary_scores(halves(200), halves(202), 0.006) == {0: 1.0, 1: 1.0}
    assert boundary_scores(halves(200), halves(203), 0.006) == {0: 0.0, 1: 0.0}


def test_a_square_moved_sideways_keeps_its_upper_and_lower_edge():
    """Class 1's boundary has 4·80 − 4 pixels, and 3 < θ < 4. Moved by 20, what matches is 60 + 3 pixels of both rows,
    and 3 more where the inner column leaves either row."""
    scores = boundary_scores(square((150, 200)), square((150, 220)))
    assert scores[1] == pytest.approx(2 * (63 + 3) / (4 * 80 - 4), abs=1e-12)


def test_a_class_in_only_one_of_the_maps_scores_nothing():
    both = np.zeros((300, 400), np.uint16)
    assert boundary_scores(square((150, 200)), both) == {0: 0.0, 1: 0.0}
    assert boundary_scores(both, square((150, 200))) == {0: 0.0, 1: 0.0}
    assert boundary_scores(square((150, 200)), 2 * square((150, 200))) == {0: 1.0, 1: 0.0, 2: 0.0}


@pytest.mark.parametrize("hw", [(1, 1), (1, 50), (50, 1), (20, 30)])
def test_without_a_boundary_nothing_is_scored(hw):
    assert boundary_scores(np.zeros(hw, np.uint16), np.zeros(hw, np.uint16)) == {}
    assert boundary_scores(np.full(hw, IGNORED, np.uint16), np.arange(math.prod(hw)).reshape(hw)) == {}


def test_one_row_is_enough_for_a_boundary():
    assert boundary_scores(halves(20, (1, 50)), halves(20, (1, 50))) == {0: 1.0, 1: 1.0}


def test_what_the_mask_says_of_ignored_pixels_does_not_matter():
    labels = square((150, 200))
    labels[:, :100] = IGNORED
    mask = labels.copy()
    mask[:, :100] = np.random.default_rng(0).integers(0, 4, (300, 100))
    assert boundary_scores(labels, mask) == {0: 1.0, 1: 1.0}


@st.composite
def label_maps(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    labels = draw(arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 2, IGNORED])))
    return labels, draw(arrays(np.uint16, shape, elements=st.integers(0, 2)))


def plain_boundary(labels, index):
    """A class's boundary pixels, by looking at every pixel's neighbours."""
    h, w = labels.shape
    return [
        (y, x)
        for y, x in np.ndindex(h, w)
        if labels[y, x] == index
        and any(
            0 <= y + dy < h and 0 <= x + dx < w and labels[y + dy, x + dx] not in (index, IGNORED)
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        )
    ]


def plain_scores(labels, mask, tolerance):
    called = np.where(labels == IGNORED, IGNORED, mask)
    reach, scores = tolerance * math.hypot(*labels.shape), {}
    for index in range(3):
        truth, found = plain_boundary(labels, index), plain_boundary(called, index)
        if truth or found:
            hits = [
                [any(math.dist(a, b) < reach for b in bs) for a in as_] for as_, bs in ((found, truth), (truth, found))
            ]
            precision, recall = (sum(each) / len(each) if each else 0 for each in hits)
            scores[index] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


@given(label_maps(), st.sampled_from([TOLERANCE, 0.13, 0.3, 0.61]))
def test_scores_are_those_of_the_definition(maps, tolerance):
    assert boundary_scores(*maps, tolerance) == pytest.approx(plain_scores(*maps, tolerance), abs=1e-12)


@given(label_maps())
def test_a_mask_that_is_the_labels_scores_1(maps):
    labels, _ = maps
    assert set(boundary_scores(labels, labels).values()) <= {1.0}


@given(label_maps())
def test_scores_are_symmetric_where_nothing_is_ignored(maps):
    labels, mask = (np.where(each == IGNORED, 0, each) for each in maps)
    assert boundary_scores(labels, mask, 0.2) == pytest.approx(boundary_scores(mask, labels, 0.2))
