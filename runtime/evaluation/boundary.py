"""The boundary F-score: how well the contours lie, whatever the areas.

After Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013. For each
class, precision is the share of the mask's boundary pixels that have a boundary pixel of the labels nearer than
θ = 0.75 % of the photo's diagonal; recall is the same the other way round; the score is their harmonic mean.

Where the paper leaves room, this is what is computed. A boundary pixel belongs to the class and has a neighbour above,
below, left or right that belongs to another; the photo's rim is no boundary, and neither is the edge of an ignored area
(in which the mask does not count either). A class with boundary pixels in only one of the two maps scores 0, one with
none in both does not count. A photo's score is the mean over its classes, a dataset's the mean over its photos.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..datasets.sample import IGNORED

TOLERANCE = 0.0075
"""θ, as a share of the photo's diagonal."""


def boundary_scores(labels: np.ndarray, mask: np.ndarray, tolerance: float = TOLERANCE) -> dict[int, float]:
    """The boundary F-score of every class that has a boundary in the labels or in the mask.

    Args:
        labels: [H, W] class index, or `IGNORED`.
        mask: [H, W] class index.
        tolerance: as a share of the diagonal; a distance must be *smaller*, so that 0 matches nothing.

    Returns:
        Scores in [0, 1], by class index.
    """
    called = np.where(labels == IGNORED, IGNORED, mask)
    truth_edges, called_edges = boundaries(labels), boundaries(called)
    reach = tolerance * math.hypot(*labels.shape)
    precise, recalled = _matched(called_edges, truth_edges, reach), _matched(truth_edges, called_edges, reach)
    classes = sorted({*precise, *recalled})
    return {index: _harmonic(precise.get(index, 0.0), recalled.get(index, 0.0)) for index in classes}


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Keep the labels of pixels with one of the four neighbours in another class, both not ignored.

    Returns:
        [H, W] class index on boundaries, `IGNORED` elsewhere.
    """
    edges = np.zeros(labels.shape, bool)
    for here, there in (np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]):
        one, other = labels[here], labels[there]
        differ = (one != other) & (one != IGNORED) & (other != IGNORED)
        edges[here] |= differ
        edges[there] |= differ
    return np.where(edges, labels, IGNORED)


def _matched(edges: np.ndarray, others: np.ndarray, reach: float) -> dict[int, float]:
    """By class, the share of its boundary pixels that have one of the same class in the other map nearer than `reach`.

    All classes at once: every pixel looks at its neighbours in the other map, the nearest first, until it finds its own
    class. That is exact, and quicker than a distance transform for each class.

    Args:
        edges: [H, W] from `boundaries`.
        others: [H, W] from `boundaries`.
        reach: Euclidean distance in pixels.
    """
    y, x = np.nonzero(edges != IGNORED)
    classes = edges[y, x]
    totals = np.bincount(classes)
    margin = math.ceil(reach)
    padded = np.pad(others, margin, constant_values=IGNORED)
    width, flat = padded.shape[1], padded.reshape(-1)
    there = np.isin(classes, others)  # a class that the other map lacks need not look
    places, seeking = ((y + margin) * width + x + margin)[there], classes[there]
    hits = np.zeros_like(totals)
    for dy, dx in _offsets(reach):
        found = flat[places + (dy * width + dx)] == seeking
        hits += np.bincount(seeking[found], minlength=len(totals))
        places, seeking = places[~found], seeking[~found]
        if not len(seeking):
            break
    return {int(index): float(hits[index] / totals[index]) for index in np.flatnonzero(totals)}


@lru_cache(maxsize=64)
def _offsets(reach: float) -> list[tuple[int, int]]:
    """All whole steps shorter than `reach`, the shortest first."""
    span = range(-math.ceil(reach), math.ceil(reach) + 1)
    near = [(dy, dx) for dy in span for dx in span if dy * dy + dx * dx < reach * reach]
    return sorted(near, key=lambda step: step[0] ** 2 + step[1] ** 2)


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
