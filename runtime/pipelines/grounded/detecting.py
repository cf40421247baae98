"""What a detector is to the pipeline, and which of its boxes are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...geometry.sizes import HW
from ...reporting import Clock
from ...stage.contract import TensorSpec
from ...words.vocabulary import Vocabulary
from ..promptable.everything.suppression import suppress
from .parameters import GroundedParameters


class Detections(NamedTuple):
    """Boxes that a detector found."""

    boxes: np.ndarray
    """[N, 4] float32, x₀ y₀ x₁ y₁ in photo pixels; they may stick out of the photo."""
    classes: np.ndarray
    """[N] int, index of the class among the vocabulary's names."""
    scores: np.ndarray
    """[N] float32 in [0, 1]."""
    word_scores: np.ndarray
    """[N] float32 in [0, 1], of the surest word alone; 1 where a detector does not tell it."""

    def chosen(self, indices: np.ndarray) -> Detections:
        """Some of them, by indices or flags."""
        return Detections(*(values[indices] for values in self))


class Detector(Protocol):
    """A detector on engines."""

    @property
    def kept(self) -> Mapping[str, TensorSpec]:
        """What `seen` gives, by name."""

    def seen(self, photo: np.ndarray, settings: GroundedParameters, clock: Clock) -> Mapping[str, np.ndarray]:
        """All that does not depend on words, of a photo [H, W, 3] uint8 RGB."""

    def words(self, vocabulary: Vocabulary) -> Any:
        """Words, prepared once for many photos."""

    def found(self, seen: Mapping[str, np.ndarray], words: Any, photo_hw: HW, clock: Clock) -> Detections:
        """All boxes, in any order, whatever the thresholds."""


def taken(found: Detections, photo_hw: HW, background: bool, settings: GroundedParameters) -> Detections:
    """The boxes above the thresholds that SAM is asked about, the surest first; none lies over a surer one.

    Boxes of the background, where there is one, boxes beside the photo and boxes without area are no things.

    Args:
        found: a detector's.
        photo_hw: the photo's size.
        background: whether class 0 is the background.
        settings: the parameters in force.
    """
    sure = (found.scores > settings.box_threshold) & (found.word_scores > settings.text_threshold)
    things = found.chosen(sure & _inside(found.boxes, photo_hw) & ((found.classes > 0) | (not background)))
    rivals = np.zeros_like(things.classes) if settings.nms_across_classes else things.classes
    kept = [
        members[suppress(things.boxes[members], things.scores[members], settings.nms_threshold)]
        for members in (np.flatnonzero(rivals == number) for number in np.unique(rivals))
    ]
    together = np.sort(np.concatenate([np.zeros(0, np.intp), *kept]))
    order = together[np.argsort(-things.scores[together], kind="stable")]
    return things.chosen(order[: settings.max_boxes])


def _inside(boxes: np.ndarray, photo_hw: HW) -> np.ndarray:
    """[N] bool: which boxes have an area, and lie over the photo."""
    height, width = photo_hw
    with_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    over = (boxes[:, 2] > 0) & (boxes[:, 3] > 0) & (boxes[:, 0] < width) & (boxes[:, 1] < height)
    inside: np.ndarray = with_area & over
    return inside
