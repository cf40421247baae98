"""From the crops' logits to labels, class by class: the probabilities of all of them are never held at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...geometry.sizes import HW
from ...photo.reading import resize
from .crops import places
from .parameters import DenseParameters


class Answered(NamedTuple):
    """What the head answered about a crop."""

    words: np.ndarray
    """[t] int, which words, ascending."""
    logits: np.ndarray
    """[t, 4h, 4w] float32."""


class Labels(NamedTuple):
    """The most probable class of each pixel."""

    labels: np.ndarray
    """[H, W] uint16."""
    scores: np.ndarray
    """[H, W] float32, its probability."""


def label(crops: Sequence[Answered], classes: Sequence[int], photo_hw: HW, parameters: DenseParameters) -> Labels:
    """Give each pixel the class whose word is most probable there; of equals the first.

    Args:
        crops: from the head, in the order of `cut_crops`.
        classes: of each word, ascending.
        photo_hw: the photo's height and width.
        parameters: the parameters in force.
    """
    labels, scores = np.zeros(photo_hw, np.uint16), np.zeros(photo_hw, np.float32)
    for index, plane in zip(classes, planes(crops, len(classes), photo_hw, parameters), strict=True):
        better = plane > scores
        np.copyto(labels, np.uint16(index), where=better)
        np.maximum(scores, plane, out=scores)
    labels[scores < parameters.probability_threshold] = 0
    return Labels(labels, scores)


def planes(crops: Sequence[Answered], words: int, photo_hw: HW, parameters: DenseParameters) -> Iterator[np.ndarray]:
    """[H, W] float32 for each word: its probability at each pixel of the photo."""
    rows = [dict(zip(crop.words.tolist(), crop.logits, strict=True)) for crop in crops]
    square = (parameters.side, parameters.side)
    share = 1 / (2 * coverage(parameters))
    for word in range(words):
        *parts, whole = (row.get(word) for row in rows)
        plane = np.zeros(square, np.float32)
        for (y, x), part in zip(places(parameters), parts, strict=True):
            if part is not None:
                plane[y : y + parameters.crop, x : x + parameters.crop] += probabilities(part, parameters.crop)
        plane *= share
        if whole is not None:
            plane += resize(probabilities(whole, parameters.crop), square) * np.float32(0.5)
        yield resize(plane, photo_hw)


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
