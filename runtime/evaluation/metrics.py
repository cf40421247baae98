"""From two label maps to figures. All figures come from counts of pixels that add up over photos."""

from __future__ import annotations

import numpy as np

from ..datasets.sample import IGNORED


def confusion(labels: np.ndarray, mask: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels by what they are and what they were called.

    Args:
        labels: [H, W] class index, or `IGNORED` for pixels that do not count.
        mask: [H, W] class index.
        classes: C, how many there are.

    Returns:
        [C, C] int64: row what it is, column what it was called.

    Raises:
        ValueError: the shapes differ, or an index is no class.
    """
    if labels.shape != mask.shape:
        raise ValueError(f"labels {list(labels.shape)} and mask {list(mask.shape)} differ in shape")
    counts = labels != IGNORED
    truth, called = labels[counts].astype(np.int64), mask[counts].astype(np.int64)
    if truth.size and (min(truth.min(), called.min()) < 0 or max(truth.max(), called.max()) >= classes):
        raise ValueError(f"a label is not among the {classes} classes")
    return np.bincount(truth * classes + called, minlength=classes * classes).reshape(classes, classes)


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of every class: [C] float64, NaN for a class that is neither there nor called.

    Args:
        counts: [C, C] from `confusion`, of one photo or the sum over many.
    """
    hits = np.diagonal(counts)
    return _share(hits, counts.sum(axis=0) + counts.sum(axis=1) - hits)


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of every class's pixels that were called by its name: [C] float64, NaN for a class that is not there."""
    return _share(np.diagonal(counts), counts.sum(axis=1))


def pixel_accuracy(counts: np.ndarray) -> float:
    """Share of pixels called rightly; NaN without pixels."""
    return float(_share(np.trace(counts)[None], counts.sum()[None])[0])


def mean_known(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where there is no whole."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares
