"""From logits to the coarse mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .errors import EngineError
from .geometry import apply_separable


class Coarse(NamedTuple):
    """The segmentation before refinement."""

    labels: np.ndarray
    """[H, W] uint16 class index."""
    scores: np.ndarray
    """[H, W] float32, the largest class probability."""
    probabilities: np.ndarray
    """[C, H, W] float32."""


def class_probabilities(
    logits: np.ndarray, rows: np.ndarray, columns: np.ndarray, query_starts: np.ndarray, logit_scale: float
) -> np.ndarray:
    """Upsample logits, take the softmax over queries, and the largest synonym of every class.

    Args:
        logits: [Q, vh, vw] float32.
        rows: [H, vh] and
        columns: [W, vw], the maps to the photo's size.
        query_starts: [C] int, where each class's synonyms begin.
        logit_scale: factor before the softmax.

    Returns:
        [C, H, W] float32. A class's synonyms do not add up, so a pixel's values sum to 1 only without synonyms.

    Raises:
        EngineError: the scaled logits are not finite.
    """
    values = apply_separable(rows, columns, logits)
    values *= logit_scale
    largest = values.max(axis=0)
    if not np.isfinite(largest).all():
        raise EngineError("logits times logit_scale pass what float32 holds; use unit embeddings or a smaller scale")
    values -= largest
    np.exp(values, out=values)
    values /= values.sum(axis=0)
    if len(query_starts) == len(values):
        return values
    by_class: np.ndarray = np.maximum.reduceat(values, query_starts, axis=0)
    return by_class


def coarse_mask(probabilities: np.ndarray, probability_threshold: float) -> Coarse:
    """The most probable class of every pixel; background (class 0) where that is below the threshold.

    Args:
        probabilities: [C, H, W] float32.
        probability_threshold: in [0, 1].
    """
    labels = probabilities.argmax(axis=0).astype(np.uint16)
    scores = probabilities.max(axis=0)
    labels[scores < probability_threshold] = 0
    return Coarse(labels, scores, probabilities)
