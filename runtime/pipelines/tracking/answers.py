"""What a tracker says of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class TrackedObject:
    """An object on a frame.

    Attributes:
        id: the user's number for it.
        mask: [H, W] bool.
        score: the logit that it is there; the mask is empty where it is not above 0.
        low_res_logits: [m, m] float32, as the model tells them; -1024 where the object is not there.
    """

    id: int
    mask: np.ndarray
    score: float
    low_res_logits: np.ndarray

    @property
    def present(self) -> bool:
        """Whether it is there."""
        return self.score > 0


@dataclass(frozen=True, eq=False)
class Tracked:
    """A frame's objects, in the order in which they joined.

    Attributes:
        index: the frame's.
        objects: one for each that is tracked, present or not.
        timings: milliseconds per step, and in total.
    """

    index: int
    objects: tuple[TrackedObject, ...]
    timings: dict[str, float] = field(default_factory=dict)

    def labels(self) -> np.ndarray:
        """[H, W] uint16: 1 for the first object, and so on; 0 where none is. Where masks overlap, the first is told
        of those whose masks say so, unless the parameter `overlap` keeps them apart."""
        labels = np.zeros(self.objects[0].mask.shape if self.objects else (0, 0), np.uint16)
        for place, each in reversed(list(enumerate(self.objects))):
            labels[each.mask] = place + 1
        return labels


def apart(logits: np.ndarray) -> np.ndarray:
    """Masks that share no pixel: [K, H, W] logits → bool; each pixel is of the largest, if that is above 0."""
    if not len(logits):
        return logits > 0
    winner = logits.argmax(axis=0)
    return np.stack([(logits[k] > 0) & (winner == k) for k in range(len(logits))])


def same_photo(one: np.ndarray | None, other: np.ndarray) -> bool:
    """Whether two frames are the same, pixel by pixel."""
    return one is not None and (one is other or np.array_equal(one, other))


def batches(items: Sequence[int], most: int) -> list[Sequence[int]]:
    """Items in portions."""
    return [items[start : start + most] for start in range(0, len(items), most)]
