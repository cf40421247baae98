"""From logits to the coarse mask.

There are up to hundreds of classes, and a plane of probabilities for each would take gigabytes. So the photo is done
in tiles of a few rows, as large as the cache: what leaves a tile is the label, its score, the softmax's maximum, and
what regions need at half resolution. `Planes` computes the probabilities of single classes again where they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from ..errors import EngineError
from ..geometry.limits import ARRAY, refuse_more
from ..geometry.photo_tables import PhotoTables
from ..geometry.sizes import nearest_index

TILE = 1 << 22
"""Bytes of a tile's probabilities, unless the fewest rows take more: small for the cache, large enough that calls cost
little. (Measured: a quarter of it takes half as long again.)"""

LINES = 3
"""Rows of the smallest tile, at most."""

KEPT = 1 << 26
"""Bytes that halved planes of all classes may take to be kept; else those that prompts want are computed again."""


class ClassPlanes(Protocol):
    """Probabilities of single classes, float32. A class's synonyms compete and do not add up."""

    def part(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """[h, w]: of a class in a part of the photo."""

    def half(self, index: int) -> np.ndarray:
        """[dh, dw]: of a class, halved (bilinear)."""


class HalfResolution(NamedTuple):
    """The coarse result at half the photo's size."""

    labels: np.ndarray
    """[dh, dw], nearest."""
    probability: np.ndarray
    """[dh, dw] float32, of the label's class, bilinear."""
    largest: np.ndarray
    """[dh, dw] float32, of the class that is most probable there, which after halving need not be the label's."""
    class_largest: np.ndarray
    """[C] float32, each class's largest probability."""


class Coarse(NamedTuple):
    """The segmentation before refinement."""

    labels: np.ndarray
    """[H, W] uint16 class index."""
    scores: np.ndarray
    """[H, W] float32, the largest class probability."""
    half: HalfResolution | None
    """The same at half resolution; None where it was not asked for."""
    planes: ClassPlanes
    """Every class's probabilities."""


class Planes:
    """Probabilities by upsampling logits and the softmax over queries, class by class, where they are asked for."""

    def __init__(self, scaled: np.ndarray, tables: PhotoTables, query_starts: np.ndarray) -> None:
        """Planes whose softmax is not known yet.

        Args:
            scaled: [vh, Q, vw] float32, logits times their scale.
            tables: of the photo's size.
            query_starts: [C] int, where each class's synonyms begin.
        """
        self.queries = [*query_starts.tolist(), scaled.shape[1]]
        self.maximum = np.empty(tables.photo_hw, np.float32)
        self.scores = np.empty(tables.photo_hw, np.float32)
        self.halved: np.ndarray | None = None  # [dh, C, dw], where they are kept
        self._scaled = scaled
        self._tables = tables

    def part(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """[h, w] float32: probabilities of a class in a part of the photo."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        first, stop = self.queries[index : index + 2]
        narrow = self._tables.rows.down(self._scaled[:, first:stop].reshape(len(self._scaled), -1), rows)
        wide = self._tables.columns.across(narrow.reshape(height * (stop - first), -1), columns)
        values: np.ndarray = wide.reshape(height, stop - first, width).max(axis=1)
        values -= self.maximum[rows, columns]
        # one row or column is interpolated in another order, and so may pass the maximum: far, with a large scale
        np.minimum(values, 0, out=values)
        cv2.exp(values, values)
        values *= self.scores[rows, columns]
        return values

    def half(self, index: int) -> np.ndarray:
        """[dh, dw] float32: probabilities of a class, halved (bilinear)."""
        if self.halved is not None:
            return self.halved[:, index].copy()
        h, w = self._tables.photo_hw
        plane = self.part(index, slice(0, h), slice(0, w))
        left, right, share = self._tables.half_rows
        lines = plane[left] * (1 - share[:, None])
        lines += plane[right] * share[:, None]
        return self._tables.half_columns.across(lines)


def coarse_mask(
    logits: np.ndarray,
    tables: PhotoTables,
    query_starts: np.ndarray,
    *,
    logit_scale: float,
    probability_threshold: float,
    halve: bool = True,
) -> Coarse:
    """Upsample logits; softmax over queries; each pixel gets the class of the most probable query.

    Args:
        logits: [Q, vh, vw] float32.
        tables: of the photo's size.
        query_starts: [C] int, where each class's synonyms begin.
        logit_scale: factor before the softmax.
        probability_threshold: where the largest probability is below it, the label is background (class 0).
        halve: whether the result is wanted at half resolution too.

    Raises:
        EngineError: the scaled logits are not finite.
        PhotoError: there are too many names for so wide a photo.
    """
    with np.errstate(over="ignore"):
        scaled = np.ascontiguousarray(logits.transpose(1, 0, 2)) * np.float32(logit_scale)
    if not np.isfinite(scaled).all():
        raise EngineError("logits times logit_scale pass what float32 holds; use unit embeddings or a smaller scale")
    planes = Planes(scaled, tables, query_starts)
    labels = np.empty(tables.photo_hw, np.uint16)
    shape = (tables.half_hw[0], len(query_starts), tables.half_hw[1])
    if halve and 4 * np.prod(shape, dtype=np.int64) <= KEPT:
        planes.halved = np.empty(shape, np.float32)
    half = _empty_half(tables.half_hw, len(query_starts)) if halve else None
    classes = np.repeat(np.arange(len(query_starts), dtype=np.uint16), np.diff(planes.queries))
    for lines, rows, exponentials in _tiles(scaled, tables, planes, labels, classes):
        labels[rows][planes.scores[rows] < probability_threshold] = 0
        if half is not None:
            _join_synonyms(exponentials, planes.queries)
            _halve(exponentials[:, : len(query_starts)], lines, rows, tables, planes, labels, half)
    return Coarse(labels, planes.scores, half, planes)


def _empty_half(hw: tuple[int, int], classes: int) -> HalfResolution:
    own, largest = np.empty((2, *hw), np.float32)
    return HalfResolution(np.empty(hw, np.uint16), own, largest, np.zeros(classes, np.float32))


def _tiles(
    scaled: np.ndarray, tables: PhotoTables, planes: Planes, labels: np.ndarray, classes: np.ndarray
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Do the softmax tile by tile: fill maximum, scores and labels.

    Yields:
        The tile's rows at half resolution, its rows, and [h, Q, W] float32: exponentials of logits less their maximum,
        in memory that is used again.
    """
    count, width = scaled.shape[1], tables.photo_hw[1]
    least = f"the probabilities of {count:,} names on {LINES} rows of a photo {width} pixels wide"
    refuse_more(4 * LINES * count * width, ARRAY, least, "Name fewer classes, or scale the photo down.")
    cuts = tables.tiles(4 * count * width, TILE)
    height = max(rows.stop - rows.start for _, rows in cuts)
    room, equal = np.empty((height * count, width), np.float32), np.empty((height, count, width), bool)
    flat = scaled.reshape(len(scaled), -1)
    for lines, rows in cuts:
        tall = rows.stop - rows.start
        narrow = tables.rows.down(flat, rows).reshape(tall * count, -1)
        values = tables.columns.across(narrow, out=room[: tall * count]).reshape(tall, count, width)
        maximum = values.max(axis=1, out=planes.maximum[rows])[:, None]
        _write_first(np.equal(values, maximum, out=equal[:tall]), classes, labels[rows])
        with np.errstate(over="ignore"):
            values -= maximum
        cv2.exp(room[: tall * count], room[: tall * count])
        np.divide(1, values.sum(axis=1), out=planes.scores[rows])
        yield lines, rows, values


def _write_first(equal: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> None:
    """Write the class of the first query that holds.

    Args:
        equal: [h, Q, W] bool, true for few queries of a pixel, and for one at least.
        classes: [Q] uint16.
        labels: [h, W] uint16, written.
    """
    line, column = np.divmod(np.flatnonzero(equal)[::-1], equal.shape[2])  # so that the first is written last
    row, query = np.divmod(line, equal.shape[1])
    labels[row, column] = classes[query]


def _join_synonyms(values: np.ndarray, queries: list[int]) -> None:
    """Put every class's largest synonym in the place of its own index: [h, Q, W], the first C of Q."""
    for index, (first, stop) in enumerate(pairwise(queries)):
        if stop - first > 1 or first != index:
            values[:, index] = values[:, first:stop].max(axis=1)


def _halve(
    exponentials: np.ndarray,
    lines: slice,
    rows: slice,
    tables: PhotoTables,
    planes: Planes,
    labels: np.ndarray,
    half: HalfResolution,
) -> None:
    """Halve a tile's probabilities, exponentials [h, C, W] times scores, and keep what regions need."""
    left, right, share = (table[lines] for table in tables.half_rows)
    paired = np.empty((len(left), *exponentials.shape[1:]), np.float32)
    other = np.empty(exponentials.shape[1:], np.float32)
    for line, upper, lower, part in zip(paired, left, right, share, strict=True):
        np.multiply(exponentials[upper - rows.start], planes.scores[upper] * (1 - part), out=line)
        np.multiply(exponentials[lower - rows.start], planes.scores[lower] * part, out=other)
        line += other
    flat = paired.reshape(-1, paired.shape[2])
    (h, w), (dh, dw) = tables.photo_hw, tables.half_hw
    kept = None if planes.halved is None else planes.halved[lines].reshape(-1, dw)
    values = tables.half_columns.across(flat, out=kept).reshape(*paired.shape[:2], dw)  # [lines, C, dw]
    half.labels[lines] = labels[nearest_index(h, dh)[lines]][:, nearest_index(w, dw)]
    half.probability[lines] = np.take_along_axis(values, half.labels[lines][:, None].astype(np.intp), axis=1)[:, 0]
    values.max(axis=1, out=half.largest[lines])
    np.maximum(half.class_largest, values.max(axis=(0, 2)), out=half.class_largest)
