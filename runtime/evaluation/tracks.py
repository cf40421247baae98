"""How well things were followed through a clip: J&F for masks whose things are known, IDF1 for identities that are not.

**J&F**, after Perazzi and others, "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR
2016. J is the mask's IoU with the truth; F is the harmonic mean of precision and recall of its contour, where a contour
pixel counts if one of the other contour lies within ⌈0.8 % of the frame's diagonal⌉ pixels (a disc). Where both masks
are empty, both are 1. A thing's figure is the mean over frames, a clip's the mean over things.

What the paper leaves to code is this: a pixel is of the contour if its neighbour to the right, below, or right below
differs from it, as in DAVIS' own evaluation; so the picture's rim is none.

**IDF1**, after Ristani and others, "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking",
ECCV workshops 2016: true and answered identities are paired one to one over the whole clip, so that as many detections
as can be agree (masks of an IoU of at least one half). IDF1 = 2 · agreed / (true + answered detections).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ..boundary.arguments import public
from ..errors import ParameterError, shown
from ..geometry.overlap import mask_iou
from .assignment import best_pairs

BOUND = 0.008
"""Reach of F, as a share of the frame's diagonal."""

LEAST_IOU = 0.5
"""Of masks that show the same thing."""

Masks = Mapping[int, np.ndarray]
"""Of one frame: [H, W] bool by identity. Who is not there is left out, or has an empty mask."""


def region_score(mask: np.ndarray, truth: np.ndarray) -> float:
    """J: intersection over union of two masks [H, W], of bool or numbers that are not 0 inside; 1 if both are empty."""
    return mask_iou(mask, truth)


def contour_score(mask: np.ndarray, truth: np.ndarray, bound: float = BOUND) -> float:
    """F of two masks [H, W], as of `region_score`; 1 if neither has a contour, 0 if one has none.

    Args:
        mask: the answer.
        truth: what it should be.
        bound: the reach, as a share of the diagonal; it is rounded up to whole pixels.
    """
    ours, theirs = contour(mask), contour(truth)
    if not ours.any() or not theirs.any():
        return float(not ours.any() and not theirs.any())
    disc = _disc(math.ceil(bound * math.hypot(*mask.shape)))
    precision = (ours & _grown(theirs, disc)).sum() / ours.sum()
    recall = (theirs & _grown(ours, disc)).sum() / theirs.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def contour(mask: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels of a mask [H, W] that differ from the one to the right, below, or right below."""
    mask = mask != 0
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    edges: np.ndarray = (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])
    return edges


def _disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc: np.ndarray = (x * x + y * y <= radius * radius).astype(np.uint8)
    return disc


def _grown(edges: np.ndarray, disc: np.ndarray) -> np.ndarray:
    grown: np.ndarray = cv2.dilate(edges.astype(np.uint8), disc) > 0
    return grown


class Followed(NamedTuple):
    """J&F of a thing or a clip, each in [0, 1]."""

    region: float
    """J."""
    contour: float
    """F."""

    @property
    def both(self) -> float:
        """J&F, their mean."""
        return (self.region + self.contour) / 2


@public()
def followed(answers: Sequence[Masks], truths: Sequence[Masks]) -> dict[int, Followed]:
    """J and F of every thing of the truth, means over frames.

    Args:
        answers: of T frames. An identity that is left out has an empty mask.
        truths: of the same frames, by the same identities. Leave out the frame in which a thing was prompted, if that
            should not count, as DAVIS does.

    Raises:
        ParameterError: there are not as many answers as truths, or masks of a frame are no booleans of one size.
    """
    _check(answers, truths)
    identities = sorted({identity for truth in truths for identity in truth})
    scores: dict[int, list[tuple[float, float]]] = {identity: [] for identity in identities}
    for answer, truth in zip(answers, truths, strict=True):
        shape = next(iter({**answer, **truth}.values()), np.zeros((1, 1), bool)).shape
        for identity in identities:
            one, other = (masks.get(identity, np.zeros(shape, bool)) for masks in (answer, truth))
            scores[identity].append((region_score(one, other), contour_score(one, other)))
    return {identity: Followed(*map(float, np.mean(each, axis=0))) for identity, each in scores.items()}


class Identified(NamedTuple):
    """Counts of detections, which add up over clips."""

    agreed: int
    """True ones that were answered by the identity that theirs is paired with: IDTP."""
    answered: int
    true: int

    @property
    def f1(self) -> float:
        """IDF1; NaN where there is nothing to be found, and nothing was."""
        return 2 * self.agreed / (self.answered + self.true) if self.answered + self.true else float("nan")

    def __add__(self, other: object) -> Identified:
        """Those of two clips; each has its own pairs."""
        if not isinstance(other, Identified):
            return NotImplemented
        return Identified(*(one + another for one, another in zip(self, other, strict=True)))

    def __radd__(self, other: object) -> Identified:
        """The same, on the 0 that `sum` begins with."""
        return self if other == 0 else NotImplemented


@public()
def identified(answers: Sequence[Masks], truths: Sequence[Masks], least_iou: float = LEAST_IOU) -> Identified:
    """Count what IDF1 is made of, for one clip.

    Args:
        answers: of T frames, by identities of any kind of number. Empty masks do not count.
        truths: of the same frames.
        least_iou: of masks that show the same thing.

    Raises:
        ParameterError: likewise, or `least_iou` is not between 0 and 1.
    """
    _check(answers, truths)
    if not 0 < least_iou <= 1:
        raise ParameterError(f"least_iou={shown(least_iou)}: expected more than 0, at most 1")
    answers, truths = ([_there(masks) for masks in each] for each in (answers, truths))
    ours, theirs = [sorted({i for masks in each for i in masks}) for each in (answers, truths)]
    together = np.zeros((len(ours), len(theirs)), np.int64)
    for answer, truth in zip(answers, truths, strict=True):
        for one, mask in answer.items():
            for other, meant in truth.items():
                together[ours.index(one), theirs.index(other)] += region_score(mask, meant) >= least_iou
    agreed = sum(int(together[pair]) for pair in best_pairs(together))
    return Identified(agreed, sum(map(len, answers)), sum(map(len, truths)))


def _check(answers: Sequence[Masks], truths: Sequence[Masks]) -> None:
    """Refuse what cannot be compared.

    Raises:
        ParameterError: says of which frame.
    """
    if len(answers) != len(truths):
        raise ParameterError(f"{len(answers)} frames are answered, and {len(truths)} known; expected one for one")
    for number, (answer, truth) in enumerate(zip(answers, truths, strict=True)):
        masks = [*answer.values(), *truth.values()]
        kinds = {(str(mask.dtype), mask.shape) for mask in masks}
        if len(kinds) > 1 or any(kind != "bool" or len(shape) != 2 for kind, shape in kinds):
            told = f"frame {number}: expected masks [H, W] bool of one size, got {sorted(kinds)}"
            raise ParameterError(f"{told}. Of numbers, compare them with 0: `mask > 0`")


def _there(masks: Masks) -> dict[int, np.ndarray]:
    return {identity: mask for identity, mask in masks.items() if mask.any()}
