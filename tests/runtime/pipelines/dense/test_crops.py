"""Crops of the dense pipeline, and the photo's size before they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovdeploy.runtime import PhotoError
from ovdeploy.runtime.pipelines.dense.crops import cut_crops, places, shrunk_size
from ovdeploy.runtime.pipelines.dense.merging import coverage
from ovdeploy.runtime.pipelines.dense.parameters import DenseParameters
from support.samples import draw_photo


@pytest.mark.parametrize(
    ("hw", "expected"),
    [
        ((480, 640), (640, 853)), ((640, 480), (853, 640)), ((640, 900), (640, 900)), ((100, 1000), (256, 2560)),
        ((1, 5000), (1, 2560)), ((333, 500), (640, 961)),
    ],
)  # fmt: skip
def test_the_short_side_is_detectron2s(hw, expected):
    """By hand: scale = 640 / short, less if the long side would pass 2560; ⌊side · scale + ½⌋."""
    assert shrunk_size(hw, 640, 2560) == expected


def test_a_short_side_of_0_leaves_the_photo_as_it_is():
    assert shrunk_size((333, 500), 0, 10) == (333, 500)


@pytest.mark.parametrize(
    ("hw", "sizes", "told"),
    [
        ((100, 800), {"short_side": 8192, "max_long_side": 65_535}, "65535×8192"),
        ((5794, 5794), {"short_side": 0}, "5794×5794"),
    ],
)
def test_a_photo_that_would_be_resized_to_too_many_pixels_is_refused(hw, sizes, told):
    """The second is of 2²⁵ pixels and 4,004 more. Neither is made: a view has one pixel in memory."""
    photo = np.broadcast_to(np.zeros(3, np.uint8), (*hw, 3))
    with pytest.raises(PhotoError, match=f"resized to {told} would be .* smaller short_side"):
        cut_crops(photo, DenseParameters(**sizes), 24)


@st.composite
def settings(draw):
    side = draw(st.integers(1, 120))
    crop = draw(st.integers(1, side))
    return DenseParameters(short_side=0, side=side, crop=crop, stride=draw(st.integers(max(1, crop // 4), crop)))


@given(settings())
def test_crops_cover_every_pixel_and_lie_within(parameters):
    assert coverage(parameters).min() >= 1
    assert all(0 <= y <= parameters.side - parameters.crop for place in places(parameters) for y in place)
    assert places(parameters) == sorted(set(places(parameters)))


def test_crops_are_parts_of_the_square_and_the_last_is_the_photo():
    parameters = DenseParameters(short_side=0, side=40, crop=24, stride=16)
    photo = draw_photo((40, 40))
    crops = cut_crops(photo, parameters, 24)
    assert crops.shape == (5, 3, 24, 24) and crops.dtype == np.float32 and crops.flags.c_contiguous
    for crop, (y, x) in zip(crops, [(0, 0), (0, 16), (16, 0), (16, 16)], strict=False):
        assert np.array_equal(crop, photo[y : y + 24, x : x + 24].transpose(2, 0, 1).astype(np.float32) / 255)
    plain = DenseParameters(short_side=0, side=40, crop=40, stride=40)
    whole = cut_crops(photo, plain, 40)
    assert np.array_equal(whole[0], whole[1]) and len(whole) == 2
