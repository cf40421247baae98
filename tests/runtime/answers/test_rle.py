"""Run lengths against pycocotools, which the runtime does not need."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from ovdeploy.runtime import ParameterError
from ovdeploy.runtime.answers import Rle
from ovdeploy.runtime.answers.rle import compressed, cropped


def theirs(mask):
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def awkward_masks(count=1000):
    """Holes, single pixels, borders, stripes, empty and full ones, lines and large planes."""
    rng = np.random.default_rng(7)
    for index in range(count):
        hw = (1, 1) if index == 0 else tuple(rng.integers(1, 90, 2))
        mask = rng.random(hw) < rng.choice([0, 0.02, 0.3, 0.5, 0.98, 1])
        if index % 3 == 0:
            y, x = (int(rng.integers(0, side)) for side in hw)
            mask[y : y + 30, x : x + 20] = True
            mask[y + 5 : y + 9, x + 4 : x + 7] = False
        if index % 5 == 0:
            mask[0], mask[:, -1] = True, rng.random() < 0.5
        yield mask


def test_a_thousand_masks_are_exactly_pycocotools():
    masks = list(awkward_masks())
    made = [Rle.encode(mask) for mask in masks]
    for mask, rle, text in zip(masks, made, compressed(made), strict=True):
        assert {"size": list(mask.shape), "counts": text} == rle.to_coco() == theirs(mask)
        np.testing.assert_array_equal(rle.decode(), mask)
        np.testing.assert_array_equal(coco.decode(rle.to_coco()), mask)
        assert rle.area == coco.area(rle.to_coco())


@settings(max_examples=200, deadline=None)
@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_what_is_encoded_comes_back(mask):
    rle = Rle.encode(mask)
    assert Rle.from_coco(rle.to_coco()) == rle
    assert Rle.from_coco({"size": list(mask.shape), "counts": rle.counts.tolist()}) == rle
    np.testing.assert_array_equal(rle.decode(), mask)


@pytest.mark.parametrize("hw", [(1, 65_535), (65_535, 1), (9_000, 9_000)])
def test_long_runs_have_as_many_groups_as_they_need(hw):
    mask = np.zeros(hw, bool)
    mask.reshape(-1)[-1] = True
    assert Rle.encode(mask).to_coco() == theirs(mask)


@settings(max_examples=300, deadline=None)
@given(told=st.one_of(st.text(max_size=30), st.binary(max_size=30), st.lists(st.integers(-3, 80), max_size=6)))
def test_damaged_run_lengths_are_refused_or_make_a_mask(told):
    try:
        rle = Rle.from_coco({"size": [6, 7], "counts": told})
    except ParameterError:
        return
    assert rle.decode().shape == (6, 7)


@settings(max_examples=200, deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_run_lengths_of_nothing_are_joined(counts):
    counts.append(-sum(counts) % 5)
    size = [5, sum(counts) // 5]
    if size[1]:
        rle = Rle.from_coco({"size": size, "counts": counts})
        expected = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size[::-1]).T
        np.testing.assert_array_equal(rle.decode(), expected)
        assert rle == Rle.encode(expected)


@settings(max_examples=200, deadline=None)
@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_a_crop_is_the_mask_in_its_box(mask):
    rle = Rle.encode(mask)
    if rle.area:
        y, x = np.nonzero(mask)
        x0, y0, x1, y1 = x.min(), y.min(), x.max(), y.max()
        np.testing.assert_array_equal(cropped(rle, (x0, y0, x1, y1)), mask[y0 : y1 + 1, x0 : x1 + 1])
        np.testing.assert_array_equal(cropped(rle, (0, 0, mask.shape[1] - 1, mask.shape[0] - 1)), mask)


@pytest.mark.parametrize("size", [None, [3], [0, 4], [3, 70_000], [3.0, 4], "34", [True, 3]])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ParameterError, match="height, width"):
        Rle.from_coco({"size": size, "counts": [12]})


@pytest.mark.parametrize("mask", [np.zeros((0, 3)), np.zeros(4), np.zeros((1, 70_000), bool), np.array([["a"]])])
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(ParameterError, match="expected a mask"):
        Rle.encode(mask)
