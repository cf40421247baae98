import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.utils.transforms import ResizeLongestSide

from ovdeploy.runtime.geometry.sizes import (
    aligned_size,
    bilinear_matrix,
    half_size,
    longest_side_size,
    nearest_index,
    resize_rows,
    resized_size,
    splice_rows,
    window_starts,
)

EXACT = 1e-12  # both sides compute in float64: a few units in the last place of weights, which are at most 1
AXES = [(1, 1), (1, 7), (7, 1), (1, 4000), (4000, 1), (2, 3), (3, 2), (24, 32), (101, 203), (203, 101), (64, 64)]

sides = st.integers(1, 5000)


def torch_rows(array, n_out):
    # [n_in, k] → [n_out, k]; linear over one axis is what bilinear does to each
    return F.interpolate(torch.from_numpy(array.T)[:, None], n_out, mode="linear", align_corners=False)[:, 0].numpy().T


def torch_nearest(n_in, n_out):
    labels = torch.arange(n_in).double()[None, None, :, None]  # as the reference does it: a plane of float64
    return F.interpolate(labels, (n_out, 1), mode="nearest")[0, 0, :, 0].long().numpy()


@pytest.mark.parametrize(
    ("photo_hw", "short_side", "expected"),
    [
        ((1, 1), 448, (448, 448)),
        ((1, 4000), 448, (1, 2048)),  # s = 2048/4000: 0.512 rounds to 1
        ((4000, 1), 448, (2048, 1)),
        ((1, 8000), 448, (1, 2048)),  # 0.256 would round to nothing
        ((448, 448), 448, (448, 448)),
        ((400, 600), 448, (448, 672)),
        ((600, 400), 336, (504, 336)),
        ((480, 640), 336, (336, 448)),
        ((3, 2), 3, (5, 3)),  # 4.5 rounds up; Python's round would give 4
        ((100, 2000), 448, (102, 2048)),  # the long side's limit: 102.4
        ((3000, 4000), 448, (448, 597)),  # 597.33
    ],
)
def test_resized_size_of_known_photos(photo_hw, short_side, expected):
    assert resized_size(photo_hw, short_side, 2048) == expected


@given(hw=st.tuples(sides, sides), short_side=st.integers(1, 1024), longest=st.integers(1024, 4096))
def test_resizing_meets_the_short_side_or_the_limit_of_the_long_one(hw, short_side, longest):
    resized = resized_size(hw, short_side, longest)
    assert max(resized) == longest or min(resized) == short_side
    assert max(resized) <= longest
    assert min(resized) <= short_side
    scale = max(resized) / max(hw)
    # half a pixel of rounding in each side, and a side is never less than one pixel
    assert all(abs(new - old * scale) <= 1 + 0.5 * old / max(hw) for new, old in zip(resized, hw, strict=True))


@pytest.mark.parametrize(
    ("resized_hw", "patch", "crop", "expected"),
    [
        ((1, 1), 16, 336, (336, 336)),
        ((1, 2048), 16, 336, (336, 2048)),
        ((1, 100), 1, 224, (224, 224)),  # no alignment, but still a window
        ((336, 501), 1, 336, (336, 501)),
        ((448, 672), 16, 336, (448, 672)),  # aligned already
        ((448, 597), 16, 336, (464, 608)),  # 608; ⌊448 · 608/597⌋ = 456 → 464
        ((449, 448), 16, 336, (464, 464)),  # 464; ⌊448 · 464/449⌋ = 462 → 464
        ((597, 448), 14, 336, (602, 462)),  # 602; ⌊448 · 602/597⌋ = 451 → 462
        ((100, 120), 16, 96, (112, 128)),
        ((96, 64), 16, 96, (96, 96)),  # aligned, narrower than the window
    ],
)
def test_aligned_size_of_known_sizes(resized_hw, patch, crop, expected):
    assert aligned_size(resized_hw, patch, crop) == expected


@given(hw=st.tuples(sides, sides), patch=st.sampled_from([1, 8, 14, 16]), patches=st.integers(1, 24))
def test_aligned_sides_are_multiples_of_the_patch_and_hold_a_window(hw, patch, patches):
    crop = patch * patches
    aligned = aligned_size(hw, patch, crop)
    assert all(side % patch == 0 and side >= crop for side in aligned)
    assert max(aligned) == max(crop, -(-max(hw) // patch) * patch)
    for new, old in zip(aligned, hw, strict=True):
        assert old <= new < max(crop + 1, old * (max(hw) + patch) / max(hw) + patch)
    if all(side % patch == 0 and side >= crop for side in hw):
        assert aligned == hw


@given(hw=st.tuples(st.integers(16, 5000), st.integers(16, 5000)), longest=st.sampled_from([256, 1024]))
def test_longest_side_size_is_sams_own(hw, longest):
    assert longest_side_size(hw, longest) == tuple(
        max(1, n) for n in ResizeLongestSide.get_preprocess_shape(*hw, longest)
    )


@pytest.mark.parametrize(
    ("hw", "expected"),
    [((1, 1), (1024, 1024)), ((1, 4000), (1, 1024)), ((16, 4000), (4, 1024)), ((400, 608), (674, 1024))],
)
def test_longest_side_size_of_known_sizes(hw, expected):
    assert longest_side_size(hw, 1024) == expected


@pytest.mark.parametrize(
    ("hw", "expected"), [((1, 1), (1, 1)), ((1, 4000), (1, 2000)), ((2, 3), (1, 1)), ((400, 601), (200, 300))]
)
def test_half_size_rounds_down_but_never_to_nothing(hw, expected):
    assert half_size(hw) == expected


@pytest.mark.parametrize(
    ("length", "crop", "stride", "expected"),
    [
        (1, 336, 224, (0,)),
        (336, 336, 224, (0,)),
        (337, 336, 224, (0, 1)),
        (448, 336, 224, (0, 112)),
        (560, 336, 224, (0, 224)),
        (672, 336, 224, (0, 224, 336)),
        (500, 224, 224, (0, 224, 276)),
    ],
)
def test_windows_of_known_lengths(length, crop, stride, expected):
    assert window_starts(length, crop, stride) == expected


@given(length=sides, crop=st.integers(1, 600), share=st.floats(0.01, 1))
def test_windows_cover_the_axis_and_fit_in_it(length, crop, share):
    stride = max(1, int(crop * share))
    starts = window_starts(length, crop, stride)
    assert len(starts) == max(length - crop + stride - 1, 0) // stride + 1
    assert starts[0] == 0
    assert starts[-1] == max(length - crop, 0)
    assert all(0 < b - a <= stride for a, b in itertools.pairwise(starts))
    covered = np.zeros(length, bool)
    for start in starts:
        covered[start : start + crop] = True
    assert covered.all()


@pytest.mark.parametrize(("n_in", "n_out"), AXES)
def test_bilinear_matrix_is_torchs_resize(n_in, n_out):
    matrix = bilinear_matrix(n_in, n_out)
    assert matrix.shape == (n_out, n_in)
    np.testing.assert_allclose(matrix, torch_rows(np.eye(n_in), n_out), atol=EXACT)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=EXACT)


@settings(max_examples=60, deadline=None)
@given(n_in=st.integers(1, 150), n_out=st.integers(1, 150), seed=st.integers(0, 99))
def test_resize_rows_is_torchs_resize(n_in, n_out, seed):
    array = np.random.default_rng(seed).standard_normal((n_in, 3))
    np.testing.assert_allclose(resize_rows(array, n_out), torch_rows(array, n_out), atol=EXACT)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resize_rows_keeps_the_dtype_and_the_other_axes(dtype):
    array = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(dtype)
    resized = resize_rows(array, 8)
    assert resized.dtype == dtype
    assert resized.shape == (8, 2, 3)
    np.testing.assert_allclose(resized[:, 1], resize_rows(array[:, 1], 8), atol=0)


@pytest.mark.parametrize(("n_in", "n_out"), AXES)
def test_nearest_index_is_torchs(n_in, n_out):
    np.testing.assert_array_equal(nearest_index(n_in, n_out), torch_nearest(n_in, n_out))


# From 8193 on, torch's float32 positions pass whole numbers and it takes the next pixel now and then; ours are exact.
@pytest.mark.parametrize("side", [1, 2, 3, 203, 1023, 4001, 6001, 8190, 8191])
def test_halving_and_doubling_of_labels_is_torchs(side):
    half = half_size((side, side))[0]
    np.testing.assert_array_equal(nearest_index(half, side), torch_nearest(half, side))
    np.testing.assert_array_equal(nearest_index(side, half), torch_nearest(side, half))


@pytest.mark.parametrize(("n_in", "n_out"), [(8193, 4096), (99_999, 49_999), (49_999, 99_999), (39, 33)])
def test_nearest_index_is_exact(n_in, n_out):
    exact = [math.floor(Fraction(i * n_in, n_out)) for i in range(n_out)]
    np.testing.assert_array_equal(nearest_index(n_in, n_out), exact)


@pytest.mark.parametrize(
    ("size", "starts", "length"),
    [(1, (0,), 1), (3, (0,), 3), (4, (0, 2, 3), 7), (5, (0, 5), 10), (6, (0, 1, 2, 3), 9)],
)
def test_spliced_rows_are_a_sum_over_a_count(size, starts, length):
    rng = np.random.default_rng(0)
    piece, inputs = rng.standard_normal((size, 2)), rng.standard_normal((len(starts), 2))
    total, count = np.zeros(length), np.zeros(length)
    for start, values in zip(starts, inputs, strict=True):
        total[start : start + size] += piece @ values
        count[start : start + size] += 1
    spliced = splice_rows(piece, starts, length) @ inputs.reshape(-1)
    np.testing.assert_allclose(spliced, total / count, atol=EXACT)
