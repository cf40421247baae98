"""Things: boxes and SAM's masks as instances, and as a map of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...answers.instance import Instance
from ...answers.rle import Rle
from ...answers.visible import box_of
from ...geometry.bands import resize
from ...geometry.overlap import mask_iou
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


Box = tuple[int, int, int, int]


class Seen(NamedTuple):
    """What SAM sees in a box."""

    mask: Rle
    """Whole masks of many boxes would take much room."""
    area: int
    """Pixels of the mask; 0 where SAM sees nothing."""
    box_xyxy: Box
    """Around the mask."""
    iou: float
    """SAM's own estimate."""


Known = dict[bytes, Seen]
"""What SAM has seen in a photo, by the bytes of the box."""


def masks_of(photo: PromptablePhoto, boxes: np.ndarray) -> Iterator[Seen]:
    """SAM's answer to each box: of its three masks the one with the largest estimate.

    Args:
        photo: an encoded one.
        boxes: [N, 4] x₀ y₀ x₁ y₁ in photo pixels.
    """
    prompts = [Prompt(box=box) for box in boxes.astype(np.float64)]
    for logits, iou in low_res_answers(photo, prompts):
        best = 1 + iou[:, 1:].argmax(axis=1)
        for each, estimates, index in zip(logits, iou, best, strict=True):
            mask = resize(photo.frame.mask_rows, photo.frame.mask_columns, each[index : index + 1])[0] > 0
            around = box_of(mask) if mask.any() else (0, 0, 0, 0)
            yield Seen(Rle.encode(mask), int(mask.sum()), around, float(estimates[index]))


def unknown(known: Known, boxes: np.ndarray) -> np.ndarray:
    """Those of some boxes [N, 4] float32 that SAM was not asked about: [n, 4]."""
    asked: np.ndarray = boxes[[box.tobytes() not in known for box in boxes]]
    return asked


def learn(known: Known, boxes: np.ndarray, photo: PromptablePhoto) -> None:
    """Ask SAM about boxes [N, 4] float32, and put its answers to what is known."""
    for box, seen in zip(boxes, masks_of(photo, boxes), strict=True):
        known[box.tobytes()] = seen


def things_of(
    known: Known, detections: Detections, vocabulary: Vocabulary, settings: GroundedParameters
) -> tuple[GroundedInstance, ...]:
    """Instances of boxes, the surest first. A box in which SAM sees nothing is none.

    Args:
        known: what SAM sees in each.
        detections: the boxes that were asked about.
        vocabulary: names their classes.
        settings: the parameters in force.
    """
    made = []
    for box, number, told in zip(detections.boxes, detections.classes.tolist(), detections.scores, strict=True):
        seen = known[box.tobytes()]
        if seen.area:
            score = float(told) * (min(max(seen.iou, 0.0), 1.0) if settings.score_by_sam else 1.0)
            made.append((score, seen, box.tolist(), number, float(told)))
    made.sort(key=lambda each: -each[0])
    kept = apart([(seen, number) for _, seen, _, number, _ in made], settings)
    return tuple(
        GroundedInstance(
            id=index + 1, class_index=number, class_name=vocabulary.names[number], box_xyxy=seen.box_xyxy,
            area=seen.area, score=score, mask=seen.mask,
            detected_xyxy=(box[0], box[1], box[2], box[3]), box_score=told, iou=seen.iou,
        )
        for index, (score, seen, box, number, told) in enumerate(made[each] for each in kept)
    )  # fmt: skip


def apart(things: Sequence[tuple[Seen, int]], settings: GroundedParameters) -> list[int]:
    """The things that remain when each drops those less sure whose masks have too large an IoU with its own.

    Args:
        things: what was seen, and its class, the surest first.
        settings: `mask_nms_threshold` and `nms_across_classes` are used.
    """
    if settings.mask_nms_threshold == 1:
        return list(range(len(things)))
    kept: list[tuple[int, np.ndarray]] = []
    for index, (seen, number) in enumerate(things):
        mask = seen.mask.decode()
        rivals = (m for other, m in kept if settings.nms_across_classes or things[other][1] == number)
        if all(mask_iou(mask, other) <= settings.mask_nms_threshold for other in rivals):
            kept.append((index, mask))
    return [index for index, _ in kept]


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
