"""Regions: the connected components of the coarse mask, class by class (S2CLIP, Algorithms 2 and 3).

Everything here is in pixels at half resolution.

All classes are labelled in one pass, over *runs*: stretches of one class within a row. Runs that touch are joined, and
areas, boxes, scores and points of all regions come from a few passes over the pixels, however many regions there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .coarse import HalfResolution

NO_REGION = -1


@dataclass(frozen=True, eq=False)
class Regions:
    """All regions, in the order of their classes, then of their first pixels (row by row)."""

    class_index: np.ndarray
    """[R] int."""
    area: np.ndarray
    """[R] int, pixels."""
    box_xyxy: np.ndarray
    """[R, 4] int, inclusive."""
    score: np.ndarray
    """[R] float64, mean probability of the class inside."""
    point_xy: np.ndarray
    """[R, 2] int, where the class is most probable (the first such pixel, row by row)."""
    ids: np.ndarray
    """[dh, dw] int, the region that each pixel belongs to, or NO_REGION."""

    def __len__(self) -> int:
        return len(self.class_index)


class _Runs(NamedTuple):
    """The stretches of one class within a row, row by row."""

    label: np.ndarray
    """[N] int class index, or NO_REGION."""
    start: np.ndarray
    """[N] int, the first pixel, counted row by row."""
    length: np.ndarray
    """[N] int."""
    ids: np.ndarray
    """[dh, dw] int, the run that each pixel belongs to."""
    begins: np.ndarray
    """[dh, dw] bool, where one begins."""


def find_regions(half: HalfResolution, region_threshold: float, min_area: float, *, split: bool = True) -> Regions:
    """Split every class into its 8-connected components.

    Pixels whose largest probability is below `region_threshold` (τ_c) belong to no region, and a class whose own
    largest probability is below it has none.

    Args:
        half: the coarse result at half resolution.
        region_threshold: τ_c.
        min_area: A_min; smaller components are left out.
        split: whether to; if not, a class is one region.
    """
    certain = half.labels.astype(np.int32)
    certain[half.largest < region_threshold] = NO_REGION
    certain[(half.class_largest < region_threshold)[half.labels]] = NO_REGION
    runs = _find_runs(certain)
    first = components(len(runs.label), *_touching(certain, runs)) if split else _first_of_class(runs)
    return _describe(runs, _number(runs, first, min_area), half)


def _find_runs(certain: np.ndarray) -> _Runs:
    begins = np.ones(certain.shape, bool)
    np.not_equal(certain[:, 1:], certain[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    length = np.diff(start, append=certain.size)
    ids = np.repeat(np.arange(len(start), dtype=np.int32), length).reshape(certain.shape)
    return _Runs(certain.reshape(-1)[start], start, length, ids, begins)


def _touching(certain: np.ndarray, runs: _Runs) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of one class in neighbouring rows that touch, corners included; every pair once or twice."""
    upper, lower = certain[:-1], certain[1:]
    upper_begins, lower_begins = runs.begins[:-1], runs.begins[1:]
    upper_ids, lower_ids = runs.ids[:-1], runs.ids[1:]
    below = (upper == lower) & (upper_begins | lower_begins)  # two runs that overlap do so from where one begins
    corner = upper_begins[:, 1:] & lower_begins[:, 1:]  # elsewhere runs that touch at a corner overlap too
    falling = corner & (upper[:, :-1] == lower[:, 1:])
    rising = corner & (upper[:, 1:] == lower[:, :-1])
    a = (upper_ids[below], upper_ids[:, :-1][falling], upper_ids[:, 1:][rising])
    b = (lower_ids[below], lower_ids[:, 1:][falling], lower_ids[:, :-1][rising])
    return np.concatenate(a), np.concatenate(b)


def components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Components of a graph: the smallest node of each node's component.

    In every round each component is hooked to the smallest of its neighbours, if that is smaller, and paths are cut
    short; so rounds grow with the logarithm of the number of nodes, not with the length of winding components.

    Args:
        count: of nodes.
        a: [E] int, one end of each edge.
        b: [E] int, the other.

    Returns:
        [count] int.
    """
    parent = np.arange(count)
    while len(a):
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(parent, further := parent[parent]):
            parent = further
        a, b = parent[a], parent[b]
        apart = a != b
        a, b = a[apart], b[apart]
    return parent


def _first_of_class(runs: _Runs) -> np.ndarray:
    """[N] int: the first run of each run's class."""
    _, first, inverse = np.unique(runs.label, return_index=True, return_inverse=True)
    of_run: np.ndarray = first[inverse]
    return of_run


def _number(runs: _Runs, first: np.ndarray, min_area: float) -> np.ndarray:
    """[N] int: the region of each run, or NO_REGION. Regions are numbered by class, then by first pixel.

    Args:
        runs: all runs.
        first: [N] int, the first run of the component that each belongs to.
        min_area: smaller components are no regions.
    """
    area = np.bincount(first, runs.length, len(first))
    chosen = np.flatnonzero((first == np.arange(len(first))) & (area >= min_area) & (runs.label != NO_REGION))
    number = np.full(len(first), NO_REGION, np.int32)
    number[chosen[np.argsort(runs.label[chosen], kind="stable")]] = np.arange(len(chosen), dtype=np.int32)
    of_run: np.ndarray = number[first]
    return of_run


def _describe(runs: _Runs, region: np.ndarray, half: HalfResolution) -> Regions:
    """Measure the regions that `region`, [N] int, numbers from 0 on."""
    count, width = int(region.max()) + 1, half.labels.shape[1]
    ids = region[runs.ids]
    inside = np.flatnonzero(ids.reshape(-1) != NO_REGION)
    region_of, value = ids.reshape(-1)[inside], half.probability.reshape(-1)[inside]
    area = np.bincount(region_of, minlength=count)
    largest = np.full(count, -np.inf, np.float32)
    np.maximum.at(largest, region_of, value)
    at_largest = np.flatnonzero(value == largest[region_of])[::-1]
    point = np.zeros(count, np.intp)
    point[region_of[at_largest]] = inside[at_largest]  # of several, the last one written: the first in row order
    class_index = np.zeros(count, np.intp)
    kept = region != NO_REGION
    class_index[region[kept]] = runs.label[kept]
    return Regions(
        class_index=class_index,
        area=area,
        box_xyxy=_boxes(region[kept], runs.start[kept], runs.length[kept], count, width),
        score=np.bincount(region_of, value, count) / area,
        point_xy=np.stack([point % width, point // width], axis=1),
        ids=ids,
    )


def _boxes(region: np.ndarray, start: np.ndarray, length: np.ndarray, count: int, width: int) -> np.ndarray:
    """[count, 4] int: x₀ y₀ x₁ y₁ of the regions of these runs."""
    y, x = np.divmod(start, width)
    boxes = np.empty((count, 4), np.intp)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.intp).max, -1
    for column, (extend, value) in enumerate(
        ((np.minimum, x), (np.minimum, y), (np.maximum, x + length - 1), (np.maximum, y))
    ):
        extend.at(boxes[:, column], region, value)
    return boxes
