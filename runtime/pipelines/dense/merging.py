"""From the crops' logits to labels, class by class: the probabilities of all of them are never held at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...geometry.sizes import HW, half_size, nearest_index
from ...labelling.coarse import Coarse, HalfResolution
from ...photo.reading import resize
from .crops import places
from .parameters import DenseParameters


class Answered(NamedTuple):
    """What the head answered about a crop."""

    words: np.ndarray
    """[t] int, which words, ascending."""
    logits: np.ndarray
    """[t, 4h, 4w] float32."""


class Planes:
    """Probabilities of single classes, made again of the crops' logits where they are asked for."""

    def __init__(
        self, crops: Sequence[Answered], classes: Sequence[int], photo_hw: HW, parameters: DenseParameters
    ) -> None:
        """Planes of a photo; arguments are those of `label`."""
        self._rows = [dict(zip(crop.words.tolist(), crop.logits, strict=True)) for crop in crops]
        self._classes, self._hw, self._parameters = np.asarray(classes), photo_hw, parameters
        self._share = 1 / (2 * coverage(parameters))

    def whole(self, index: int) -> np.ndarray:
        """[H, W] float32: of a class, the largest of its words."""
        words = np.flatnonzero(self._classes == index)
        plane = self._of_word(words[0])
        for word in words[1:]:
            np.maximum(plane, self._of_word(word), out=plane)
        return plane

    def part(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """[h, w] float32: of a class in a part of the photo."""
        return self.whole(index)[rows, columns].copy()

    def half(self, index: int) -> np.ndarray:
        """[dh, dw] float32: of a class, halved (bilinear)."""
        return resize(self.whole(index), half_size(self._hw))

    def _of_word(self, word: int) -> np.ndarray:
        """[H, W] float32: a word's probability at each pixel of the photo."""
        side = (self._parameters.side, self._parameters.side)
        crop = self._parameters.crop
        *parts, whole = (row.get(word) for row in self._rows)
        plane = np.zeros(side, np.float32)
        for (y, x), part in zip(places(self._parameters), parts, strict=True):
            if part is not None:
                plane[y : y + crop, x : x + crop] += probabilities(part, crop)
        plane *= self._share
        if whole is not None:
            plane += resize(probabilities(whole, crop), side) * np.float32(0.5)
        return resize(plane, self._hw)


def label(
    crops: Sequence[Answered],
    classes: Sequence[int],
    photo_hw: HW,
    parameters: DenseParameters,
    *,
    halve: bool = False,
) -> Coarse:
    """Give each pixel the class whose word is most probable there; of equals the first.

    Args:
        crops: from the head, in the order of `cut_crops`.
        classes: of each word, ascending.
        photo_hw: the photo's height and width.
        parameters: the parameters in force.
        halve: whether the result is wanted at half resolution too, to be refined.
    """
    planes = Planes(crops, classes, photo_hw, parameters)
    labels, scores = np.zeros(photo_hw, np.uint16), np.zeros(photo_hw, np.float32)
    halved = _Halved(photo_hw) if halve else None
    for index in range(max(classes, default=-1) + 1):
        plane = planes.whole(index)
        better = plane > scores
        np.copyto(labels, np.uint16(index), where=better)
        np.maximum(scores, plane, out=scores)
        if halved:
            halved.add(plane, better)
    unlikely = scores < parameters.probability_threshold
    labels[unlikely] = 0
    return Coarse(labels, scores, halved.result(labels, unlikely) if halved else None, planes)


class _Halved:
    """What refinement needs of a coarse mask at half resolution, class by class."""

    def __init__(self, photo_hw: HW) -> None:
        self._hw = half_size(photo_hw)
        self._at = np.ix_(*(nearest_index(*sides) for sides in zip(photo_hw, self._hw, strict=True)))
        self._own, self._largest = np.zeros((2, *self._hw), np.float32)
        self._first: np.ndarray | None = None
        self._peaks: list[float] = []

    def add(self, plane: np.ndarray, better: np.ndarray) -> None:
        """The next class: its probabilities [H, W], and [H, W] bool, where they are above all before."""
        half = resize(plane, self._hw)
        if self._first is None:
            self._first, self._own = half, half.copy()
        np.copyto(self._own, half, where=better[self._at])
        np.maximum(self._largest, half, out=self._largest)
        self._peaks.append(float(half.max()))

    def result(self, labels: np.ndarray, unlikely: np.ndarray) -> HalfResolution:
        """With the labels [H, W]; [H, W] bool, where they are class 0 since no class is likely."""
        if self._first is not None:
            np.copyto(self._own, self._first, where=unlikely[self._at])
        return HalfResolution(labels[self._at], self._own, self._largest, np.asarray(self._peaks, np.float32))


def coverage(parameters: DenseParameters) -> np.ndarray:
    """[side, side] float32: how many crops lie over each pixel of the square."""
    count = np.zeros((parameters.side, parameters.side), np.float32)
    for y, x in places(parameters):
        count[y : y + parameters.crop, x : x + parameters.crop] += 1
    return count


def probabilities(logits: np.ndarray, side: int) -> np.ndarray:
    """Logits [4h, 4w], enlarged to [side, side], through the sigmoid."""
    values = -resize(logits, (side, side))
    with np.errstate(over="ignore"):  # beyond what float32 holds the probability is 0
        cv2.exp(values, values)
    values += 1
    shares: np.ndarray = np.divide(1, values, out=values)
    return shares
