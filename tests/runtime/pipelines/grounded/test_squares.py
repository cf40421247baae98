"""The square that OWLv2 sees: what it costs. Its pixels are compared with PyTorch's in the reference's tests."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ovdeploy.runtime.pipelines.grounded.squares import square_image
from support.samples import draw_photo

SIDE = 480


@pytest.mark.parametrize("hw", [(2, 12_000), (12_000, 2)])
def test_a_long_thin_photo_takes_no_more_than_its_padding_and_the_square(hw):
    """σ is 12, so that 74 rows are smoothed: 11 MB in float32, and a handful of copies. Resized along its short axis
    first it would be 480 rows of 12,000 pixels, 69 MB each time."""
    photo = draw_photo(hw)
    tracemalloc.start()
    square_image(photo, SIDE, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


@pytest.mark.parametrize("hw", [(40, 900), (300, 777), (31, 60)])
def test_a_photo_on_its_side_gives_the_square_on_its_side(hw):
    photo = draw_photo(hw)
    turned = square_image(np.ascontiguousarray(photo.transpose(1, 0, 2)), SIDE, 0.5)
    # float32: the two axes are smoothed in another order
    np.testing.assert_allclose(square_image(photo, SIDE, 0.5), turned.transpose(0, 1, 3, 2), atol=1e-5)
