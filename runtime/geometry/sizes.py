"""Sizes, and resizing as linear maps. Everything here is a pure function of sizes.

Bilinear resizing with half-pixel centres is separable and linear, so a resize is a pair of matrices, one per axis,
and a chain of resizes, crops and overlaps is a product of such matrices. Sizes are (height, width), in pixels.
"""

from __future__ import annotations

import math

import numpy as np

from .limits import TABLE, refuse_more

HW = tuple[int, int]


def round_half_up(x: float) -> int:
    """⌊x + ½⌋: the rounding of SAM and of mmcv, not Python's."""
    return math.floor(x + 0.5)


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `n`."""
    return -(-n // multiple) * multiple


def resized_size(photo_hw: HW, short_side: int, max_long_side: int) -> HW:
    """The photo's size after resizing its short side to `short_side`, its long side to `max_long_side` at most.

    Both sides are scaled by s = min(max_long_side / long, short_side / short) and rounded half up.
    """
    scale = min(max_long_side / max(photo_hw), short_side / min(photo_hw))
    h, w = (max(1, round_half_up(side * scale)) for side in photo_hw)
    return h, w


def aligned_size(resized_hw: HW, patch: int, crop: int) -> HW:
    """The size at which every side is a multiple of the patch and no smaller than a window.

    The long side is rounded up to a multiple of `patch`, the other is scaled with it and floored, then both are
    rounded up. A photo that is aligned already keeps its size, unless it is smaller than a window.
    """
    h, w = resized_hw
    if h % patch or w % patch:
        longest = round_up(max(h, w), patch)
        scaled = [longest if side == max(h, w) else side * longest // max(h, w) for side in (h, w)]
        h, w = (round_up(max(side, 1), patch) for side in scaled)
    return max(h, crop), max(w, crop)


def longest_side_size(hw: HW, longest: int) -> HW:
    """The size at which the longer side is `longest`, each side rounded half up (SAM's ResizeLongestSide)."""
    scale = longest / max(hw)
    return max(1, round_half_up(hw[0] * scale)), max(1, round_half_up(hw[1] * scale))


def half_size(hw: HW) -> HW:
    """⌊H/2⌋, ⌊W/2⌋, at least 1."""
    return max(1, hw[0] // 2), max(1, hw[1] // 2)


def window_count(length: int, crop: int, stride: int) -> int:
    """How many windows an axis has: max(n − c + t − 1, 0)//t + 1."""
    return max(length - crop + stride - 1, 0) // stride + 1


def window_starts(length: int, crop: int, stride: int) -> tuple[int, ...]:
    """Where the windows of one axis begin, the last shifted back to fit."""
    count = window_count(length, crop, stride)
    return tuple(max(min(i * stride, length - crop), 0) for i in range(count))


def bilinear_taps(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two inputs that each output of a bilinear resize takes: half-pixel centres, edges clamped, no antialiasing.

    Returns:
        [n_out] int, the left one; [n_out] int, the right one; [n_out] float64, the right one's share.
    """
    position = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
    left = np.floor(position).astype(np.intp)
    return left, np.minimum(left + 1, n_in - 1), position - left


def resize_rows(array: np.ndarray, n_out: int) -> np.ndarray:
    """Resize the first axis: bilinear, half-pixel centres, edges clamped, no antialiasing.

    Applied to a matrix [n, k], this is the linear map "first that matrix, then the resize".

    Args:
        array: [n_in, ...] float.
        n_out: the new length.

    Returns:
        [n_out, ...], of the same dtype.
    """
    _refuse_large(n_out, *array.shape[1:])
    left, right, share = bilinear_taps(len(array), n_out)
    share = share.astype(array.dtype).reshape(-1, *[1] * (array.ndim - 1))
    resized: np.ndarray = array[left]
    resized *= 1 - share
    second = array[right]
    second *= share  # in place: these tables are the largest of a plan
    resized += second
    return resized


def bilinear_matrix(n_in: int, n_out: int) -> np.ndarray:
    """`resize_rows` as a matrix: [n_out, n_in] float64, rows summing to 1."""
    _refuse_large(n_out, n_in)
    _refuse_large(n_in, n_in)
    return resize_rows(np.eye(n_in), n_out)


def nearest_index(n_in: int, n_out: int) -> np.ndarray:
    """Which input each output takes in a nearest resize: ⌊i · n_in / n_out⌋, [n_out] int."""
    return np.arange(n_out) * n_in // n_out


def splice_rows(piece: np.ndarray, starts: tuple[int, ...], length: int) -> np.ndarray:
    """Lay the same piece at several places of one axis, and average where pieces overlap.

    Windows lie on a grid of rows and columns, so the count of windows over a pixel is a product of counts per axis, and
    averaging is separable like resizing.

    Args:
        piece: [size, k], the linear map of one piece, from its k inputs to its positions.
        starts: where each piece begins; together they must cover the axis.
        length: length of the axis.

    Returns:
        [length, pieces · k] float64: from the inputs of all pieces to the axis.
    """
    size, inputs = piece.shape
    _refuse_large(length, len(starts), inputs)
    table = np.zeros((length, len(starts), inputs))
    count = np.zeros((length, 1, 1))
    for index, start in enumerate(starts):
        table[start : start + size, index] = piece
        count[start : start + size] += 1
    table /= count
    return table.reshape(length, -1)


def _refuse_large(*shape: int) -> None:
    """Refuse a table before it is allocated.

    Raises:
        PhotoError: it would hold too many numbers.
    """
    remedy = "Choose a larger stride or a smaller max_long_side, or scale the photo down."
    refuse_more(math.prod(map(int, shape)), TABLE, f"a table of {' × '.join(map(str, shape))}", remedy)
