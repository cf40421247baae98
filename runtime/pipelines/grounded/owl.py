"""OWLv2 on engines: a photo gives boxes with embeddings, and words are compared with them on the host."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...backends.base import Session
from ...geometry.sizes import HW
from ...reporting import Clock
from ...stage.arrays import to_host
from ...stage.contract import TensorSpec
from ...words.vocabulary import Vocabulary
from .detecting import Detections
from .parameters import GroundedParameters
from .squares import square_image
from .stages import DETECTOR, OUTPUTS

ROWS = 1 << 20
"""Logits that are made at a time: of many words only the best of each class is kept."""


class OwlDetector:
    """See `Detector`. Any number of words costs a matrix product."""

    def __init__(self, session: Session, side: int) -> None:
        """A detector over an open session.

        Args:
            session: the engine of the stage `detector_image`.
            side: of the square that it sees, in pixels.
        """
        self._session, self._side = session, side

    @property
    def kept(self) -> Mapping[str, TensorSpec]:
        """See `Detector.kept`: the engine's outputs."""
        return {name: self._session.contract.output(name) for name in OUTPUTS}

    def seen(self, photo: np.ndarray, settings: GroundedParameters, clock: Clock) -> Mapping[str, np.ndarray]:
        """See `Detector.seen`: the engine's outputs."""
        with clock("square"):
            image = square_image(photo, self._side, settings.padding)
        with clock(DETECTOR):
            outputs = self._session.run({"image": image})
        return {name: to_host(outputs[name]) for name in OUTPUTS}

    def words(self, vocabulary: Vocabulary) -> Vocabulary:
        """See `Detector.words`: embeddings are all that is needed."""
        return vocabulary

    def found(
        self,
        seen: Mapping[str, np.ndarray],
        words: Vocabulary,
        photo_hw: HW,
        clock: Clock,
    ) -> Detections:
        """See `Detector.found`."""
        with clock("boxes"):
            scores, classes = best_classes(seen, words)
            boxes = corners(seen["boxes"][0]) * np.float32(max(photo_hw))
        return Detections(boxes, classes, scores, np.ones_like(scores))


def best_classes(seen: Mapping[str, np.ndarray], words: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The score of every box's best class, [N] float32, and the class, [N] int; a class is as good as its best synonym.

    A logit is (cosine + shift) · scale, both of the box's own; the score is its sigmoid.
    """
    rows, shift, scale = seen["embeddings"][0], seen["shift"][0], seen["scale"][0]
    unit = words.embeddings / (np.linalg.norm(words.embeddings, axis=1, keepdims=True) + np.float32(1e-6))
    step = max(1, ROWS // len(unit))
    parts = [
        np.maximum.reduceat((rows[at : at + step] @ unit.T + shift[at : at + step, None]) * scale[at : at + step, None],
                            words.query_starts, axis=1)
        for at in range(0, len(rows), step)
    ]  # fmt: skip
    logits = np.concatenate(parts)
    if words.background:
        logits[:, 0] = -np.inf  # it is not asked about
    classes = logits.argmax(axis=1)
    best = np.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
    with np.errstate(over="ignore"):  # exp of a large negative logit's opposite: the score is 0
        scores: np.ndarray = 1 / (1 + np.exp(-best))
    return scores.astype(np.float32), classes


def corners(boxes: np.ndarray) -> np.ndarray:
    """[N, 4] centre x, centre y, width, height → x₀ y₀ x₁ y₁."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    both: np.ndarray = np.concatenate([centre - half, centre + half], axis=1)
    return both
