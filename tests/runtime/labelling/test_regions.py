from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import line
from skimage.measure import label

from ovdeploy.runtime.labelling.regions import NO_REGION, find_regions
from support.planes import half_of


class Plain(NamedTuple):
    class_index: int
    mask: np.ndarray
    area: int
    box_xyxy: tuple
    score: float
    point_xy: tuple


def plain_regions(labels, probabilities, threshold, min_area):
    """Algorithm 2: one class after the other, one mask a region."""
    uncertain = len(probabilities)  # an extra class, which is not split
    classes = labels.astype(int)
    if threshold > 0:
        classes[probabilities.max(axis=0) < np.float32(threshold)] = uncertain
    regions = []
    for index in range(len(probabilities)):
        if threshold > 0 and probabilities[index].max() < np.float32(threshold):
            continue
        components = label(classes == index, connectivity=2)
        masks = [components == number for number in range(1, components.max() + 1)]
        for mask in sorted(masks, key=lambda m: np.flatnonzero(m)[0]):
            if mask.sum() >= min_area:
                regions.append(describe(index, mask, probabilities[index]))
    return regions


def describe(index, mask, probability):
    pixels = [(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    y, x = max(pixels, key=lambda p: probability[p])  # max keeps the first of equals
    ys, xs = zip(*pixels, strict=True)
    score = sum(float(probability[p]) for p in pixels) / len(pixels)
    return Plain(index, mask, len(pixels), (min(xs), min(ys), max(xs), max(ys)), score, (x, y))


def check(labels, probabilities, threshold=0.0, min_area=0):
    labels = np.asarray(labels, np.uint16)
    found = find_regions(half_of(labels, probabilities), threshold, min_area)
    expected = plain_regions(labels, probabilities, threshold, min_area)
    assert len(found) == len(expected)
    ids = np.full(labels.shape, NO_REGION)
    for number, region in enumerate(expected):
        ids[region.mask] = number
        assert found.class_index[number] == region.class_index
        assert found.area[number] == region.area
        assert tuple(found.box_xyxy[number]) == region.box_xyxy
        assert tuple(found.point_xy[number]) == region.point_xy
        assert found.score[number] == pytest.approx(region.score, abs=1e-6)  # sums of float32 in another order
    np.testing.assert_array_equal(found.ids, ids)
    return found


def random_case(hw, classes, seed, *, blocks=1, levels=None):
    """Labels in blocks, and probabilities that have nothing to do with them; few levels make many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (-(-hw[0] // blocks), -(-hw[1] // blocks)))
    labels = labels.repeat(blocks, 0).repeat(blocks, 1)[: hw[0], : hw[1]]
    probabilities = rng.random((classes, *hw), np.float32)
    return labels, probabilities if levels is None else np.floor(probabilities * levels).astype(np.float32) / levels


def spiral(size):
    """Ones that wind to the middle of zeros, so that both are one component and nested."""
    grid = np.zeros((size, size), int)
    y, x, dy, dx = 0, -1, 0, 1
    for length in [size, *(n for pair in range(size - 1, 0, -2) for n in (pair, pair))]:
        for _ in range(length):
            y, x = y + dy, x + dx
            grid[y, x] = 1
        dy, dx = dx, -dy
    return grid


def stripes(size):
    return np.tile(np.arange(size) % 2, (size, 1))


def checkerboard(size):
    return np.indices((size, size)).sum(axis=0) % 2


def cross(size):
    grid = np.zeros((size, size), int)
    grid[line(0, 0, size - 1, size - 1)] = 1
    grid[line(size - 1, 0, 0, size - 1)] = 1
    return grid


def mosaic(size):
    """No two neighbours alike, diagonals included: every pixel is a region."""
    y, x = np.indices((size, size))
    return y % 2 * 2 + x % 2


def rings(size):
    y, x = np.indices((size, size))
    return np.minimum(np.minimum(y, x), np.minimum(size - 1 - y, size - 1 - x)) % 2


def diagonal(size):
    return np.eye(size, dtype=int)


def one_class(size):
    return np.ones((size, size), int)


@pytest.mark.parametrize("draw", [checkerboard, spiral, stripes, cross, mosaic, rings, diagonal, one_class])
@pytest.mark.parametrize("size", [1, 2, 3, 16, 17])
def test_adversarial_masks(draw, size):
    labels = draw(size)
    for min_area in (0, 2, size):
        check(labels, random_case((size, size), 4, 0, levels=3)[1], 0.0, min_area)
        check(labels.T[::-1], random_case((size, size), 4, 1)[1], 0.8, min_area)


@pytest.mark.parametrize(
    ("draw", "regions"),
    [
        (one_class, 1),
        (checkerboard, 2),
        (spiral, 2),
        (diagonal, 2),  # both sides touch across it
        (cross, 2),
        (stripes, 17),
        (rings, 9),
        (mosaic, 289),
    ],
)
def test_known_masks_have_as_many_regions_as_one_sees(draw, regions):
    assert len(check(draw(17), random_case((17, 17), 4, 0)[1])) == regions


@pytest.mark.parametrize("hw", [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (2, 2), (23, 31)])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.95, 1.0])
def test_random_masks(hw, threshold):
    for seed in range(4):
        check(*random_case(hw, 3, seed), threshold, min_area=seed)
        check(*random_case(hw, 5, seed, blocks=4, levels=4), threshold, min_area=2 * seed)


@settings(max_examples=80, deadline=None)
@given(
    hw=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    classes=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    blocks=st.integers(1, 4),
    levels=st.sampled_from([None, 1, 2, 5]),
    threshold=st.sampled_from([0.0, 0.2, 0.5, 0.8]),
    min_area=st.integers(0, 12),
)
def test_any_mask(hw, classes, seed, blocks, levels, threshold, min_area):
    check(*random_case(hw, classes, seed, blocks=blocks, levels=levels), threshold, min_area)


def test_a_region_of_exactly_the_smallest_area_counts():
    labels = np.array([[1, 1, 0, 1, 1, 1]])
    probabilities = np.full((2, 1, 6), 0.5, np.float32)
    assert check(labels, probabilities, min_area=2).area.tolist() == [2, 3]
    assert check(labels, probabilities, min_area=2.5).area.tolist() == [3]
    assert len(check(labels, probabilities, min_area=225)) == 0


def test_the_first_of_equally_probable_pixels_is_the_point():
    labels = np.zeros((3, 4), int)
    probabilities = np.full((1, 3, 4), 0.5, np.float32)
    assert check(labels, probabilities).point_xy.tolist() == [[0, 0]]
    probabilities[0, 1, 3] = probabilities[0, 2, 0] = 0.75
    assert check(labels, probabilities).point_xy.tolist() == [[3, 1]]


def test_uncertain_pixels_split_what_they_lie_between():
    labels = np.ones((3, 5), int)
    probabilities = np.full((2, 3, 5), 0.7, np.float32)
    probabilities[:, :, 2] = 0.4
    assert check(labels, probabilities, 0.5).area.tolist() == [6, 6]
    assert check(labels, probabilities, 0.4).area.tolist() == [15]  # as large as the threshold is certain enough
    assert check(labels, probabilities, 0.0).area.tolist() == [15]


def test_a_class_that_is_nowhere_probable_is_skipped():
    labels = np.array([[0, 0, 1, 1]])  # class 1 holds pixels in which class 0 is certain: halving can do that
    probabilities = np.float32([[[0.9] * 4], [[0.1] * 4]])
    assert check(labels, probabilities, 0.2).class_index.tolist() == [0]
    assert check(labels, probabilities, 0.1).class_index.tolist() == [0, 1]


def test_nothing_found_has_the_shapes_of_no_region():
    found = check(np.zeros((4, 5), int), np.full((1, 4, 5), 0.1, np.float32), 0.2)
    assert len(found) == 0
    assert found.box_xyxy.shape == (0, 4)
    assert found.point_xy.shape == (0, 2)
    assert (found.ids == NO_REGION).all()
