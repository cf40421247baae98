"""What a tracker says of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

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
        hw: the frame's height and width.
        timings: milliseconds per step, and in total.
    """

    index: int
    objects: tuple[TrackedObject, ...]
    hw: tuple[int, int]
    timings: dict[str, float] = field(default_factory=dict)

    def labels(self) -> np.ndarray:
        """[H, W] uint16: 1 for the first object, and so on; 0 where none is. Where masks overlap, the first is told
        of those whose masks say so, unless the parameter `overlap` keeps them apart."""
        labels = np.zeros(self.hw, np.uint16)
        for place, each in reversed(list(enumerate(self.objects))):
            labels[each.mask] = place + 1
        return labels


def apart(logits: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Masks that share no pixel: [H, W] logits of each object → bool; each pixel is of the largest, if that is above 0.

    Logits are taken one after another, and not held.
    """
    masks: list[np.ndarray] = []
    best: Any = 0.0
    for each in logits:
        mine = each > best  # of equals the first has it
        for mask in masks:
            mask &= ~mine
        masks.append(mine)
        best = np.maximum(best, each)
    return masks


def same_photo(one: np.ndarray | None, other: np.ndarray) -> bool:
    """Whether two frames are the same, pixel by pixel."""
    return one is not None and (one is other or np.array_equal(one, other))


def batches(items: Sequence[int], most: int) -> list[Sequence[int]]:
    """Items in portions."""
    return [items[start : start + most] for start in range(0, len(items), most)]
