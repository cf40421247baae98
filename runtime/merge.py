"""Merging: the decoder's masks of all regions, and the coarse result, become one refined mask (S2CLIP, Algorithm 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .coarse import Coarse
from .geometry import apply_separable, nearest_index
from .plan import SamFrame
from .regions import NO_REGION, Regions


class Refined(NamedTuple):
    """The segmentation after refinement."""

    labels: np.ndarray
    """[H, W] uint16 class index."""
    scores: np.ndarray
    """[H, W] float32, the largest class score; 0 where no class has any and the coarse label stays."""


def merge(
    coarse: Coarse,
    regions: Regions,
    low_res: np.ndarray,
    iou: np.ndarray,
    frame: SamFrame,
    *,
    iou_threshold: float,
    as_published: bool,
) -> Refined:
    """Merge refined regions into the coarse result.

    A class's score is its probability times the largest σ(logit) over its valid regions (IoU above the threshold), and
    0 where none of those logits is positive. The label is the class of the largest score; where every score is 0 the
    coarse label stays. Inside failed regions the coarse probabilities lift the scores, and the coarse label stands
    where its probability beats the refined score. Trident's published code lifts the scores *before* it compares, so
    that the label never returns: `as_published` keeps that.

    Args:
        coarse: the coarse result.
        regions: the regions that were prompted.
        low_res: [R, 1, m, m] float32 mask logits.
        iou: [R] float32, SAM's estimates.
        frame: how the photo lay in SAM's input.
        iou_threshold: τ_iou.
        as_published: see above.
    """
    valid = iou > iou_threshold
    if not valid.any():
        return Refined(coarse.labels, coarse.scores)
    labels, scores = coarse.labels.copy(), np.zeros_like(coarse.scores)
    for index in np.unique(regions.class_index[valid]):
        chosen = low_res[valid & (regions.class_index == index), 0]
        score = _class_score(coarse.probabilities[index], chosen, frame)
        better = score > scores
        labels[better] = index
        scores[better] = score[better]
    failed = _upsampled_union(regions.ids, np.flatnonzero(~valid), coarse.labels.shape)
    lifted = failed & (coarse.scores > scores)
    if not as_published:
        labels[lifted] = coarse.labels[lifted]
    scores[lifted] = coarse.scores[lifted]
    return Refined(labels, scores)


def _class_score(probability: np.ndarray, low_res: np.ndarray, frame: SamFrame) -> np.ndarray:
    """p · max over regions of σ(logit), where that logit is positive, else 0: [H, W] float32."""
    logits = apply_separable(frame.mask_rows, frame.mask_columns, low_res[0])
    for mask in low_res[1:]:
        np.maximum(logits, apply_separable(frame.mask_rows, frame.mask_columns, mask), out=logits)
    positive = logits > 0
    score = np.zeros_like(probability)
    score[positive] = probability[positive] / (1 + np.exp(-logits[positive]))
    return score


def _upsampled_union(ids: np.ndarray, wanted: np.ndarray, hw: tuple[int, ...]) -> np.ndarray:
    """[H, W] bool: the union of some regions, from half resolution by nearest."""
    union = np.isin(ids, wanted) & (ids != NO_REGION)
    enlarged: np.ndarray = union[np.ix_(nearest_index(ids.shape[0], hw[0]), nearest_index(ids.shape[1], hw[1]))]
    return enlarged
