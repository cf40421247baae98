"""Merging: the decoder's masks of all regions, and the coarse result, become one refined mask (S2CLIP, Algorithm 4)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.sam_frame import SamFrame
from ..geometry.sizes import nearest_index
from .coarse import Coarse
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
    for index in np.unique(regions.class_index[valid]).tolist():
        _apply_class(index, low_res[valid & (regions.class_index == index), 0], coarse, frame, labels, scores)
    failed = _upsampled_union(regions.ids, np.flatnonzero(~valid), coarse.labels.shape)
    lifted = failed & (coarse.scores > scores)
    if not as_published:
        labels[lifted] = coarse.labels[lifted]
    scores[lifted] = coarse.scores[lifted]
    return Refined(labels, scores)


def _apply_class(
    index: int, low_res: np.ndarray, coarse: Coarse, frame: SamFrame, labels: np.ndarray, scores: np.ndarray
) -> None:
    """Where a class's score, p · max over its regions of σ(logit), is above all before it, write it and its label.

    The score is 0 where no logit is positive, and a logit is no larger than the largest of the low-resolution ones that
    it is interpolated from. So only the boxes that positive ones reach are looked at.
    """
    boxes = [_reach(mask, frame) for mask in low_res]
    rows, columns = (_hull([box[axis] for box in boxes]) for axis in (0, 1))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    logits = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    for mask, (down, across) in zip(low_res, boxes, strict=True):
        part = logits[
            down.start - rows.start : down.stop - rows.start,
            across.start - columns.start : across.stop - columns.start,
        ]
        enlarged = frame.mask_rows.down(frame.mask_columns.across(mask, across), down)
        np.maximum(part, enlarged, out=part)
    score = coarse.planes.part(index, rows, columns)
    score *= logits > 0
    score /= 1 + cv2.exp(-logits)
    before = scores[rows, columns]
    better = score > before
    np.copyto(labels[rows, columns], np.uint16(index), where=better)
    np.copyto(before, score, where=better)


def _reach(low_res: np.ndarray, frame: SamFrame) -> tuple[slice, slice]:
    """The rows and columns of the photo that take any positive logit of a mask [m, m]."""
    positive: np.ndarray = low_res > 0
    return frame.mask_rows.reached(np.any(positive, axis=1)), frame.mask_columns.reached(np.any(positive, axis=0))


def _hull(ranges: list[slice]) -> slice:
    """The smallest range that holds all of those that are not empty."""
    filled = [part for part in ranges if part.stop > part.start] or [slice(0, 0)]
    return slice(min(part.start for part in filled), max(part.stop for part in filled))


def _upsampled_union(ids: np.ndarray, wanted: np.ndarray, hw: tuple[int, ...]) -> np.ndarray:
    """[H, W] bool: the union of some regions, from half resolution by nearest."""
    union = np.isin(ids, wanted) & (ids != NO_REGION)
    enlarged: np.ndarray = union[np.ix_(nearest_index(ids.shape[0], hw[0]), nearest_index(ids.shape[1], hw[1]))]
    return enlarged
