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

import cv2
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
    reach = tolerance * math.hypot(*labels.shape)
    truth_edges, called_edges = boundaries(labels), boundaries(called)
    classes = np.union1d(labels[truth_edges], called[called_edges])
    return {
        int(index): _f_score(truth_edges & (labels == index), called_edges & (called == index), reach)
        for index in classes
    }


def boundaries(labels: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels with one of the four neighbours in another class, both not ignored."""
    edges = np.zeros(labels.shape, bool)
    for here, there in (np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]):
        one, other = labels[here], labels[there]
        differ = (one != other) & (one != IGNORED) & (other != IGNORED)
        edges[here] |= differ
        edges[there] |= differ
    return edges


def _f_score(truth: np.ndarray, called: np.ndarray, reach: float) -> float:
    """Harmonic mean of precision and recall of two sets of boundary pixels, [H, W] bool each, not both empty."""
    if not truth.any() or not called.any():
        return 0.0
    precision, recall = _near(called, truth, reach), _near(truth, called, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(pixels: np.ndarray, others: np.ndarray, reach: float) -> float:
    """Share of some pixels that have one of the others nearer than `reach` (Euclidean, in pixels)."""
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[pixels] < reach).mean())
