"""How well single things are found: F1, and how things lie in a photo's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...runtime.datasets.sample import Thing
from ...runtime.evaluation.precision import Matches

AT_HALF = 1
"""The bit of `Matches` that is about an IoU of 0.5."""

CLASSES, BOXES, AREAS, CROWDS, MASKS = "thing_classes", "thing_boxes", "thing_areas", "thing_crowds", "thing_masks"
ARRAYS = (CLASSES, BOXES, AREAS, CROWDS, MASKS)
"""Names of a record's arrays that are about things."""


class ThingTally:
    """How many things were found, missed and made up, each photo and class kept apart.

    A thing is found by an instance of its class whose mask has an IoU of at least 0.5 with its own, as COCO matches
    them: the surest instance first, each once. Classes of which no photo has a thing count neither way, as with COCO.

    Attributes:
        photos: how many were added.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int, int]] = []
        self.photos = 0

    def add(self, told: Sequence[Matches]) -> None:
        """Add what is said of a photo."""
        for each in told:
            right, aside = (np.asarray(flags[0], np.int64) & AT_HALF for flags in (each.right, each.aside))
            counts = int((right * (1 - aside)).sum()), int(((1 - right) * (1 - aside)).sum()), each.there[0]
            self._rows.append((self.photos, each.class_index, *counts))
        self.photos += 1

    def counts(self, weights: np.ndarray | None = None) -> tuple[float, float, float]:
        """How many instances are right, how many wrong, and how many things are there.

        Args:
            weights: [photos], how often each counts; None means once.
        """
        rows = np.array(self._rows, np.int64).reshape(-1, 5)
        rows = rows[np.isin(rows[:, 1], rows[rows[:, 4] > 0, 1])]
        times = np.ones(self.photos) if weights is None else weights
        right, wrong, there = (float((rows[:, column] * times[rows[:, 0]]).sum()) for column in (2, 3, 4))
        return right, wrong, there

    def figure(self, weights: np.ndarray | None = None) -> float:
        """F1 = 2 · right / (right + wrong + there), all photos and classes together; NaN where nothing is there."""
        right, wrong, there = self.counts(weights)
        return 2 * right / (right + wrong + there) if there else float("nan")

    def figures(self) -> dict[str, float]:
        """F1 and its two sides: the share of instances that are right, and that of things which are found."""
        right, wrong, there = self.counts()
        return {
            "F1": self.figure(),
            "precision": right / (right + wrong) if right + wrong else float("nan"),
            "recall": right / there if there else float("nan"),
        }


def packed(things: Sequence[Thing], hw: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Things as arrays; a pixel of a mask takes a bit."""
    masks = np.array([each.mask for each in things], bool).reshape(len(things), hw[0] * hw[1])
    return {
        CLASSES: np.array([each.class_index for each in things], np.int64),
        BOXES: np.array([each.box_xywh for each in things], np.float64).reshape(-1, 4),
        AREAS: np.array([each.area for each in things], np.float64),
        CROWDS: np.array([each.crowd for each in things], bool),
        MASKS: np.packbits(masks, axis=1),
    }


def unpacked(arrays: Mapping[str, np.ndarray], hw: tuple[int, ...]) -> tuple[Thing, ...]:
    """The things of a record."""
    masks = np.unpackbits(arrays[MASKS], axis=1, count=hw[0] * hw[1]).astype(bool).reshape(-1, *hw)
    rows = zip(*(arrays[name].tolist() for name in (CLASSES, BOXES, AREAS, CROWDS)), masks, strict=True)
    return tuple(Thing(number, mask, area, tuple(box), crowd) for number, box, area, crowd, mask in rows)
