import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.geometry.bands import BLOCK, Bands, resize
from ovdeploy.runtime.geometry.sizes import bilinear_matrix, resize_rows, splice_rows

SIZES = [(1, 1), (1, 9), (9, 1), (7, 3), (48, 512), (64, 683), (400, 200), (BLOCK, BLOCK), (3, BLOCK + 1)]


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_a_bilinear_resize_without_its_matrix_is_that_of_the_matrix(n_in, n_out):
    matrix = bilinear_matrix(n_in, n_out).astype(np.float32)
    assert Bands.of(matrix).shape == Bands.bilinear(n_in, n_out).shape == (n_out, n_in)
    np.testing.assert_array_equal(Bands.of(matrix).dense(), matrix)
    np.testing.assert_allclose(
        Bands.bilinear(n_in, n_out).dense(), matrix, atol=1e-7
    )  # shares are rounded, then 1 less them


def spliced(length):
    """A map whose outputs take inputs that are not neighbours: of several windows each."""
    return splice_rows(bilinear_matrix(8, 32), (0, 12, length - 32), length)


MATRICES = [bilinear_matrix(48, 100), bilinear_matrix(1, 50), bilinear_matrix(50, 1), spliced(57), np.eye(40)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_maps_of_both_axes_are_products_with_the_matrix(matrix):
    bands, rng = Bands.of(matrix), np.random.default_rng(0)
    for part in (None, slice(0, 1), slice(len(matrix) // 3, len(matrix)), slice(len(matrix) // 2, len(matrix) // 2)):
        wanted = matrix[part if part else slice(None)]
        array = rng.standard_normal((matrix.shape[1], 5)).astype(np.float32)
        # float32 sums of a few products with values up to 4
        np.testing.assert_allclose(bands.down(array, part), wanted @ array, atol=2e-6)
        np.testing.assert_allclose(bands.across(array.T, part), (wanted @ array).T, atol=2e-6)
        room = np.full((5, len(wanted)), np.nan, np.float32)
        assert bands.across(array.T, part, out=room) is room
        np.testing.assert_allclose(room, (wanted @ array).T, atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(n_in=st.integers(1, 40), n_out=st.integers(1, 80), seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_reached_are_the_outputs_from_the_first_to_the_last_that_take_an_input(n_in, n_out, seed, share):
    wanted = np.random.default_rng(seed).random(n_in) < share
    taking = np.flatnonzero(bilinear_matrix(n_in, n_out)[:, wanted].any(axis=1))
    found = Bands.bilinear(n_in, n_out).reached(wanted)
    assert range(found.start, found.stop) == (range(taking[0], taking[-1] + 1) if len(taking) else range(0))


@pytest.mark.parametrize("n", [10_000, 65_535])
def test_long_axes_take_no_matrix(n):
    halved = Bands.bilinear(n, n // 2)
    ramp = np.arange(n, dtype=np.float32)[None]
    middles = (np.arange(n // 2) + 0.5) * (n / (n // 2)) - 0.5
    # ramps up to 65 535 have steps of 2⁻⁸ in float32, and shares are rounded to 2⁻²⁴
    np.testing.assert_allclose(halved.across(ramp)[0], middles, atol=0.02)


@pytest.mark.parametrize(
    ("hw_in", "hw_out"),
    [
        ((1, 1), (1, 1)),
        ((1, 1), (5, 9)),
        ((7, 3), (1, 1)),
        ((1, 64), (1, 4000)),
        ((42, 64), (150, 203)),
        ((9, 8), (4, 3)),
    ],
)
def test_resize_is_torchs_bilinear_resize(hw_in, hw_out):
    planes = np.random.default_rng(0).standard_normal((2, 3, *hw_in)).astype(np.float32)
    resized = resize(*(Bands.bilinear(n, m) for n, m in zip(hw_in, hw_out, strict=True)), planes)
    expected = F.interpolate(torch.from_numpy(planes).double(), hw_out, mode="bilinear", align_corners=False)
    assert resized.dtype == np.float32
    # values up to 4 in float32, and weights rounded to it: a few times 2⁻²⁴ · 4
    np.testing.assert_allclose(resized, expected.numpy(), atol=2e-6)


@given(n=st.integers(2, 300), share=st.sampled_from([0.5, 0.34, 0.9]))
def test_what_is_the_same_everywhere_stays_so(n, share):
    """To the last bit: a region's point is its first pixel of the largest probability, and that is often 1 all over."""
    bands = Bands.bilinear(n, max(1, int(n * share)))
    assert (bands.across(np.ones((3, n), np.float32)) == 1).all()
    assert (bands.down(np.ones((n, 3), np.float32)) == 1).all()


@settings(max_examples=60, deadline=None)
@given(n_in=st.integers(1, 90), inputs=st.integers(1, 40), n_out=st.integers(1, 300), seed=st.integers(0, 99))
def test_a_resized_table_made_piece_by_piece_is_the_whole_one_bit_for_bit(n_in, inputs, n_out, seed):
    table = np.random.default_rng(seed).random((n_in, inputs)) * (np.random.default_rng(seed + 1).random(inputs) > 0.5)
    if not table.any():
        table[:, 0] = 1
    whole = Bands.of(resize_rows(table, n_out))
    assert Bands.resized(table, n_out).dense().tobytes() == whole.dense().tobytes()
