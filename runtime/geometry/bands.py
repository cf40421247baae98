"""Linear maps of one axis, kept as blocks: in a resize each output takes few inputs, and the rest of its matrix is 0.

A block holds some neighbouring outputs and the inputs that any of them takes, so a product is a few small dense ones.
What is left out is zero, so results are those of the whole matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .limits import PASSED, refuse_more
from .sizes import bilinear_taps

BLOCK = 64
"""Outputs in a block, or about the inputs that they take, whichever are more. With few, products are small and many;
with many, their matrices are mostly 0 again. (Measured: 16 or 256 take twice as long.)"""

PRODUCT = 1 << 18
"""Multiplications in one product of matrices: OpenBLAS does that many in the calling thread. Its threads would wait for
cores on which an engine's threads still spin: behind an engine, larger products took two to four times as long."""


class _Block(NamedTuple):
    outputs: slice
    inputs: slice | np.ndarray
    weights: np.ndarray
    """[outputs, inputs] float32."""


class Bands:
    """A linear map of one axis.

    Attributes:
        shape: outputs, inputs.
    """

    def __init__(self, shape: tuple[int, int], blocks: Sequence[_Block]) -> None:
        """A map of blocks; `of` and `bilinear` make them.

        Args:
            shape: outputs, inputs.
            blocks: one for each of `_cuts`, in their order.
        """
        self.shape, self._blocks = shape, blocks
        self._step = _step(*shape)

    @classmethod
    def of(cls, matrix: np.ndarray) -> Bands:
        """A matrix [to, from], cut into blocks."""
        shape = (matrix.shape[0], matrix.shape[1])
        return cls(shape, [_block(outputs, matrix[outputs]) for outputs in _cuts(*shape)])

    @classmethod
    def resized(cls, table: np.ndarray, n_out: int) -> Bands:
        """`resize_rows` of a table as a map, block by block: the whole may be much larger than what is not 0 of it.

        Args:
            table: [n, from], a linear map.
            n_out: its new number of rows.

        Raises:
            PhotoError: the whole is too large even to be passed through.
        """
        shape = (n_out, table.shape[1])
        remedy = "Choose a larger stride or a smaller max_long_side, or scale the photo down."
        refuse_more(n_out * table.shape[1], PASSED, f"a table of {n_out} × {table.shape[1]}", remedy)
        left, right, share = bilinear_taps(len(table), n_out)
        blocks = []
        for outputs in _cuts(*shape):
            part = share[outputs].astype(table.dtype)[:, None]
            blocks.append(_block(outputs, table[left[outputs]] * (1 - part) + table[right[outputs]] * part))
        return cls(shape, blocks)

    @classmethod
    def bilinear(cls, n_in: int, n_out: int) -> Bands:
        """A bilinear resize, without its matrix, which for two long axes would be large."""
        left, right, share = bilinear_taps(n_in, n_out)
        share = share.astype(np.float32)  # so that both shares still sum to 1: what is the same everywhere stays so
        blocks = []
        for outputs in _cuts(n_out, n_in):
            first, line = left[outputs][0], np.arange(outputs.stop - outputs.start)
            weights = np.zeros((len(line), right[outputs][-1] + 1 - first), np.float32)
            weights[line, left[outputs] - first] = 1 - share[outputs]
            weights[line, right[outputs] - first] += share[outputs]
            blocks.append(_block(outputs, weights, first))
        return cls((n_out, n_in), blocks)

    def dense(self) -> np.ndarray:
        """[to, from] float32, with its zeros."""
        matrix = np.zeros(self.shape, np.float32)
        for block in self._blocks:
            matrix[block.outputs, block.inputs] = block.weights
        return matrix

    def down(self, array: np.ndarray, part: slice | None = None) -> np.ndarray:
        """Map the first axis.

        Args:
            array: [from, n] float32.
            part: which outputs; None means all.

        Returns:
            [outputs, n] float32.
        """
        first, stop = self._range(part)
        mapped = np.empty((stop - first, array.shape[1]), np.float32)
        for outputs, inputs, weights in self._within(first, stop):
            for piece in _pieces(array.shape[1], weights):
                np.matmul(weights, array[inputs, piece], out=mapped[outputs, piece])
        return mapped

    def across(self, array: np.ndarray, part: slice | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Map the last axis.

        Args:
            array: [n, from] float32.
            part: which outputs; None means all.
            out: [n, outputs] float32, to be written into.

        Returns:
            [n, outputs] float32.
        """
        first, stop = self._range(part)
        mapped = np.empty((len(array), stop - first), np.float32) if out is None else out
        for outputs, inputs, weights in self._within(first, stop):
            for piece in _pieces(len(array), weights):
                np.matmul(array[piece, inputs], weights.T, out=mapped[piece, outputs])
        return mapped

    def reached(self, wanted: np.ndarray) -> slice:
        """The outputs that take any of some inputs, from the first such output to the last.

        Args:
            wanted: [from] bool.
        """
        hit = np.concatenate([block.weights[:, wanted[block.inputs]].any(axis=1) for block in self._blocks])
        places = np.flatnonzero(hit)
        return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)

    def _range(self, part: slice | None) -> tuple[int, int]:
        return (part.start, part.stop) if part is not None else (0, self.shape[0])

    def _within(self, first: int, stop: int) -> list[_Block]:
        """The blocks of a range of outputs, cut to it and counted from it."""
        found = []
        for block in self._blocks[first // self._step : -(-stop // self._step)]:
            start, end = max(block.outputs.start, first), min(block.outputs.stop, stop)
            weights = block.weights[start - block.outputs.start : end - block.outputs.start]
            found.append(_Block(slice(start - first, end - first), block.inputs, weights))
        return found


def _step(n_out: int, n_in: int) -> int:
    """Outputs in a block of a map of this shape."""
    return max(1, BLOCK * min(n_out, n_in) // n_in)


def _cuts(n_out: int, n_in: int) -> list[slice]:
    """The outputs of every block of a map of this shape."""
    step = _step(n_out, n_in)
    return [slice(start, min(start + step, n_out)) for start in range(0, n_out, step)]


def _pieces(count: int, weights: np.ndarray) -> list[slice]:
    step = max(1, PRODUCT // max(1, weights.size))
    return [slice(start, start + step) for start in range(0, count, step)]


def _block(outputs: slice, weights: np.ndarray, first: int = 0) -> _Block:
    """A block without the inputs that none of its outputs takes.

    Args:
        outputs: of the block.
        weights: [outputs, inputs].
        first: the first of these inputs.
    """
    taken = np.flatnonzero(weights.any(axis=0))
    kept = np.ascontiguousarray(weights[:, taken], np.float32)
    if len(taken) == taken[-1] - taken[0] + 1:
        return _Block(outputs, slice(int(first + taken[0]), int(first + taken[-1]) + 1), kept)
    return _Block(outputs, first + taken, kept)


def resize(rows: Bands, columns: Bands, planes: np.ndarray) -> np.ndarray:
    """Resize planes by one map per axis.

    Args:
        rows: from h to H.
        columns: from w to W.
        planes: [..., h, w] float32.

    Returns:
        [..., H, W] float32.
    """
    wide = columns.across(planes.reshape(-1, planes.shape[-1])).reshape(-1, planes.shape[-2], columns.shape[0])
    resized = np.stack([rows.down(plane) for plane in wide]) if len(wide) else wide
    return resized.reshape(*planes.shape[:-2], rows.shape[0], columns.shape[0])
