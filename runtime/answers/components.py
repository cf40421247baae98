"""Instances of a mask: the connected components of each class.

Components are 8-connected, as regions are (`labelling.regions`): a line one pixel wide stays in one piece whichever way
it runs. All classes go in one pass over runs of pixels, which are taken along columns, since COCO's run lengths are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.limits import INSTANCES, refuse_more
from ..labelling.regions import components
from .instance import Instance
from .rle import Rle

NOTHING = -1


class _Runs(NamedTuple):
    """Stretches of one class within a column, column by column."""

    label: np.ndarray
    """[N] int class index."""
    start: np.ndarray
    """[N] int, the first pixel, counted column by column."""
    length: np.ndarray
    """[N] int."""


class _Measured(NamedTuple):
    """What is known of each of K instances, in their order."""

    label: np.ndarray
    """[K] int."""
    area: np.ndarray
    """[K] int."""
    score: np.ndarray
    """[K] float64."""
    box_xyxy: np.ndarray
    """[K, 4] int, inclusive."""


def find_instances(
    mask: np.ndarray, scores: np.ndarray, names: tuple[str, ...], *, background: bool, min_area: int = 1
) -> tuple[Instance, ...]:
    """The 8-connected components of each class, in the order of classes, then of first pixels (row by row).

    Args:
        mask: [H, W] uint16 class index.
        scores: [H, W] float32.
        names: the classes' names.
        background: whether class 0 is none of which there are instances.
        min_area: smaller components are left out, in pixels.

    Raises:
        PhotoError: there are too many.
    """
    height = len(mask)
    columns = cv2.transpose(np.ascontiguousarray(mask)).reshape(-1)
    runs = _find_runs(columns, height)
    first = components(len(runs.label), *_touching(runs, height, columns.size))
    of_run, count = _number(runs, first, mask.shape, 0 if background else NOTHING, min_area)
    if not count:
        return ()
    kept = np.flatnonzero(of_run != NOTHING)
    kept = kept[np.argsort(of_run[kept], kind="stable")]
    sums = np.add.reduceat(cv2.transpose(np.ascontiguousarray(scores)).reshape(-1), runs.start, dtype=np.float64)
    chosen = _Runs(*(values[kept] for values in runs))
    measured = _measure(chosen, of_run[kept], sums[kept], height)
    masks = _run_lengths(chosen, of_run[kept], mask.shape)
    return tuple(_instance(index, measured, masks[index], names) for index in range(count))


def _find_runs(columns: np.ndarray, height: int) -> _Runs:
    begins = np.ones(columns.size, bool)
    np.not_equal(columns[1:], columns[:-1], out=begins[1:])
    begins[::height] = True
    start = np.flatnonzero(begins)
    return _Runs(columns[start], start, np.diff(start, append=columns.size))


def _touching(runs: _Runs, height: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of one class in neighbouring columns that touch, corners included."""
    row = runs.start % height
    has_next = np.flatnonzero(runs.start < pixels - height)
    row, right = row[has_next], runs.start[has_next] - row[has_next] + height
    above, below = np.maximum(row - 1, 0), np.minimum(row + runs.length[has_next], height - 1)
    first = np.searchsorted(runs.start, right + above, "right") - 1
    count = np.searchsorted(runs.start, right + below, "right") - first
    one = np.repeat(has_next, count)
    other = np.arange(len(one)) + np.repeat(first - (np.cumsum(count) - count), count)
    same = runs.label[one] == runs.label[other]
    return one[same], other[same]


def _number(runs: _Runs, first: np.ndarray, hw: tuple[int, int], ignored: int, min_area: int) -> tuple[np.ndarray, int]:
    """Number the components that count.

    Args:
        runs: all runs.
        first: [N] int, the first run of the component that each belongs to.
        hw: the mask's size.
        ignored: a class of which there are no instances.
        min_area: of a component that counts.

    Returns:
        [N] int, the number of each run's component, or NOTHING; how many components there are.
    """
    height, width = hw
    area = np.bincount(first, runs.length, len(first))
    chosen = np.flatnonzero((first == np.arange(len(first))) & (area >= min_area) & (runs.label != ignored))
    refuse_more(len(chosen), INSTANCES, "this photo's answer", "Leave out small ones by min_area.")
    pixel = np.full(len(first), height * width)
    np.minimum.at(pixel, first, runs.start % height * width + runs.start // height)  # a run's first is its topmost
    number = np.full(len(first), NOTHING, np.int64)
    number[chosen[np.lexsort((pixel[chosen], runs.label[chosen]))]] = np.arange(len(chosen))
    of_run: np.ndarray = number[first]
    return of_run, len(chosen)


def _measure(runs: _Runs, of_run: np.ndarray, sums: np.ndarray, height: int) -> _Measured:
    """Measure instances; the runs lie in their order, and `sums`, [N] float64, are of the pixels' scores."""
    begins = _begins(of_run)
    x, y = np.divmod(runs.start, height)
    area = np.add.reduceat(runs.length, begins)
    least = [np.minimum.reduceat(values, begins) for values in (x, y)]
    most = [np.maximum.reduceat(values, begins) for values in (x, y + runs.length - 1)]
    box = np.stack([*least, *most], axis=1)
    return _Measured(runs.label[begins], area, np.add.reduceat(sums, begins) / area, box)


def _run_lengths(runs: _Runs, of_run: np.ndarray, hw: tuple[int, int]) -> list[Rle]:
    """The masks of instances, whose runs lie in their order."""
    height, width = hw
    end = runs.start + runs.length
    continues = np.zeros(len(end), bool)  # over the edge of a column
    continues[1:] = (end[:-1] == runs.start[1:]) & (of_run[1:] == of_run[:-1])
    start, of_run = runs.start[~continues], of_run[~continues]
    end = end[np.append(np.flatnonzero(~continues)[1:], len(end)) - 1]
    begins = _begins(of_run)
    before = np.append(0, end[:-1])
    before[begins] = 0
    counts = np.stack([start - before, end - start], axis=1).reshape(-1)
    cuts = [*(2 * begins).tolist(), len(counts)]
    left = (height * width - end[np.append(begins[1:], len(end)) - 1]).tolist()
    masks = []
    for (first, last), tail in zip(pairwise(cuts), left, strict=True):
        own = counts[first:last]
        masks.append(Rle(height, width, np.append(own, tail) if tail else own.copy()))
    return masks


def _begins(of_run: np.ndarray) -> np.ndarray:
    """[K] int: where the runs of each instance begin."""
    return np.flatnonzero(np.diff(of_run, prepend=NOTHING))


def _instance(index: int, measured: _Measured, mask: Rle, names: tuple[str, ...]) -> Instance:
    label = int(measured.label[index])
    x0, y0, x1, y1 = measured.box_xyxy[index].tolist()
    return Instance(
        id=index + 1,
        class_index=label,
        class_name=names[label],
        box_xyxy=(x0, y0, x1, y1),
        area=int(measured.area[index]),
        score=min(float(measured.score[index]), 1.0),  # rounding of a mean
        mask=mask,
    )
