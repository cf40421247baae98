"""Regions: the connected components of the coarse mask, class by class (S2CLIP, Algorithms 2 and 3).

Everything here is in pixels at half resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .coarse import Coarse
from .geometry import half_size, nearest_index

NO_REGION = -1


class HalfResolution(NamedTuple):
    """The coarse result at half the photo's size."""

    labels: np.ndarray
    """[dh, dw], nearest."""
    probabilities: np.ndarray
    """[C, dh, dw] float32, bilinear."""


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


def half_resolution(coarse: Coarse) -> HalfResolution:
    """Halve the labels (nearest) and the probabilities (bilinear)."""
    hw = coarse.labels.shape
    dh, dw = half_size((hw[0], hw[1]))
    labels = coarse.labels[np.ix_(nearest_index(hw[0], dh), nearest_index(hw[1], dw))]
    planes = [cv2.resize(plane, (dw, dh), interpolation=cv2.INTER_LINEAR) for plane in coarse.probabilities]
    return HalfResolution(labels, np.stack(planes))


def find_regions(half: HalfResolution, region_threshold: float, min_area: float, *, split: bool = True) -> Regions:
    """Split every class into its 8-connected components.

    Pixels whose largest probability is below `region_threshold` (τ_c) belong to no region, and a class whose own
    largest probability is below it has none. Areas, boxes, scores and points of all regions come from the same few
    passes over the pixels.

    Args:
        half: the coarse result at half resolution.
        region_threshold: τ_c.
        min_area: A_min; smaller components are left out.
        split: whether to; if not, a class is one region.
    """
    components = _label_components(half, region_threshold, split)
    ids = _drop_small_and_sort(components, half.labels, min_area)
    return _describe(ids, half)


def _label_components(half: HalfResolution, region_threshold: float, split: bool) -> np.ndarray:
    """[dh, dw] int: a number for every component of every class, NO_REGION elsewhere."""
    ids = np.full(half.labels.shape, NO_REGION, np.int32)
    certain = half.labels.astype(np.int32)
    certain[half.probabilities.max(axis=0) < region_threshold] = NO_REGION
    count = 0
    for index in np.unique(certain[certain != NO_REGION]):
        if half.probabilities[index].max() < region_threshold:
            continue
        members = (certain == index).astype(np.uint8)
        found, labels = 2, members.astype(np.int32)
        if split:
            found, labels = cv2.connectedComponents(members, connectivity=8, ltype=cv2.CV_32S)
        inside = labels > 0
        ids[inside] = labels[inside] + (count - 1)
        count += found - 1
    return ids


def _drop_small_and_sort(ids: np.ndarray, labels: np.ndarray, min_area: float) -> np.ndarray:
    """Number the components that are large enough by class, then by first pixel (OpenCV scans in blocks)."""
    numbers, first, area = np.unique(ids, return_index=True, return_counts=True)
    keep = (numbers != NO_REGION) & (area >= min_area)
    numbers, first = numbers[keep], first[keep]
    order = np.lexsort((first, labels.reshape(-1)[first]))
    renumber = np.full(int(ids.max()) + 2, NO_REGION, np.int32)  # its last entry answers for NO_REGION, index −1
    renumber[numbers[order]] = np.arange(len(order))
    sorted_ids: np.ndarray = renumber[ids]
    return sorted_ids


def _describe(ids: np.ndarray, half: HalfResolution) -> Regions:
    """Measure the regions that `ids` numbers from 0 on."""
    ys, xs = np.nonzero(ids != NO_REGION)
    order = np.argsort(ids[ys, xs], kind="stable")  # region by region, and row by row inside each
    ys, xs = ys[order], xs[order]
    area = np.bincount(ids[ys, xs])
    starts = np.concatenate([[0], np.cumsum(area)[:-1]]).astype(np.intp) if len(area) else np.zeros(0, np.intp)
    classes = half.labels[ys, xs].astype(np.intp)
    if not len(starts):
        empty = np.zeros(0, np.intp)
        return Regions(empty, empty, np.zeros((0, 4), np.intp), np.zeros(0), np.zeros((0, 2), np.intp), ids)
    values = half.probabilities[classes, ys, xs]
    largest = np.repeat(np.maximum.reduceat(values, starts), area)
    at_largest = np.flatnonzero(values == largest)
    point = at_largest[np.searchsorted(at_largest, starts)]
    corners = [np.minimum.reduceat(xs, starts), np.minimum.reduceat(ys, starts)]
    corners += [np.maximum.reduceat(xs, starts), np.maximum.reduceat(ys, starts)]
    return Regions(
        class_index=classes[starts],
        area=area,
        box_xyxy=np.stack(corners, axis=1),
        score=np.add.reduceat(values, starts, dtype=np.float64) / area,
        point_xy=np.stack([xs[point], ys[point]], axis=1),
        ids=ids,
    )
