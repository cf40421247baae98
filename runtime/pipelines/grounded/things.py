"""Things: boxes and SAM's masks as instances, and as a map of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...answers.instance import Instance
from ...answers.rle import Rle
from ...answers.visible import box_of
from ...geometry.bands import resize
from ...geometry.sizes import HW
from ...words.vocabulary import Vocabulary
from ..prompt_input import Prompt
from ..prompted import PromptablePhoto, low_res_answers
from .detecting import Detections
from .parameters import GroundedParameters


@dataclass(frozen=True)
class GroundedInstance(Instance):
    """A thing that words have found. `score` is the detector's, or that times SAM's, as `score_by_sam` says."""

    detected_xyxy: tuple[float, float, float, float]
    """The detector's box: x₀, y₀, x₁, y₁ in photo pixels, where edges lie between pixels; it may stick out."""
    box_score: float
    """The detector's, in [0, 1]."""
    iou: float
    """SAM's own estimate of the mask's IoU."""


def masks_of(photo: PromptablePhoto, boxes: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """SAM's answer to each box: of its three masks the one with the largest estimate.

    Args:
        photo: an encoded one.
        boxes: [N, 4] x₀ y₀ x₁ y₁ in photo pixels.

    Yields:
        [H, W] bool, and the estimate.
    """
    prompts = [Prompt(box=box) for box in boxes.astype(np.float64)]
    for logits, iou in low_res_answers(photo, prompts):
        best = 1 + iou[:, 1:].argmax(axis=1)
        for each, estimates, index in zip(logits, iou, best, strict=True):
            full = resize(photo.frame.mask_rows, photo.frame.mask_columns, each[index : index + 1])
            yield full[0] > 0, float(estimates[index])


def things_of(
    photo: PromptablePhoto, detections: Detections, vocabulary: Vocabulary, settings: GroundedParameters
) -> tuple[GroundedInstance, ...]:
    """Instances of boxes, the surest first. A box in which SAM sees nothing is none.

    Args:
        photo: an encoded one.
        detections: the boxes that are asked about.
        vocabulary: names their classes.
        settings: the parameters in force.
    """
    made = []
    for (mask, iou), box, number, told in zip(masks_of(photo, detections.boxes), *detections, strict=True):
        if mask.any():
            score = float(told) * (min(max(iou, 0.0), 1.0) if settings.score_by_sam else 1.0)
            seen = box_of(mask), int(mask.sum()), Rle.encode(mask)  # whole masks of many boxes would take much room
            made.append((score, seen, iou, box, int(number), float(told)))
    made.sort(key=lambda each: -each[0])
    return tuple(
        GroundedInstance(
            id=index + 1, class_index=number, class_name=vocabulary.names[number], box_xyxy=own,
            area=area, score=score, mask=mask,
            detected_xyxy=(float(box[0]), float(box[1]), float(box[2]), float(box[3])), box_score=told, iou=iou,
        )
        for index, (score, (own, area, mask), iou, box, number, told) in enumerate(made)
    )  # fmt: skip


def painted(things: Sequence[GroundedInstance], photo_hw: HW) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores, painted from the least sure instance to the surest.

    Args:
        things: the surest first.
        photo_hw: the photo's size.

    Returns:
        [H, W] uint16, 0 where nothing is; [H, W] float32.
    """
    labels, scores = np.zeros(photo_hw, np.uint16), np.zeros(photo_hw, np.float32)
    for each in reversed(things):
        mask = each.mask.decode()
        labels[mask], scores[mask] = each.class_index, each.score
    return labels, scores
