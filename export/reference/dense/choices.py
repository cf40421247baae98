"""Pseudo prompts step by step in loops and float64: what is chosen, and how close each choice was.

A choice may fall otherwise in an engine only where it was closer than rounding moves what it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...models.dense.pseudo_prompts import TIE, PromptSizes

CLOSE = 1e-5
"""Choices with a larger margin must be equal in float32."""


class Choice(NamedTuple):
    """What a map's prompts are."""

    places: np.ndarray
    """[K] int: of the points, row by row; 0 where there is none."""
    used: np.ndarray
    """[K] bool."""
    margin: float
    """The smallest of all margins: in the map's units for the peak, the threshold and the points; of two centres'
    squared distances by the map's side, squared."""


def choose(heights: np.ndarray, sizes: PromptSizes) -> Choice:
    """The choices of a map [h, w] float32."""
    side = len(heights)
    values = heights.astype(np.float64).ravel()
    bar = values.max() + sizes.temperature * np.log(sizes.threshold)
    inside = np.flatnonzero(values > bar)
    margins = [_gap(values), np.abs(values - bar).min()]
    positions = np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(np.float64)
    centres = positions[list(_spread(inside, int(values.argmax()), positions, sizes.objects))]
    for _ in range(sizes.rounds + 1):
        distances = ((positions[inside, None] - centres[None]) ** 2).sum(axis=2) / side**2  # [inside, K]
        distances += TIE * np.arange(sizes.objects)
        nearest = distances.argmin(axis=1)
        ordered = np.sort(distances, axis=1)
        margins.append((ordered[:, 1] - ordered[:, 0]).min() if sizes.objects > 1 else np.inf)
        for region in np.unique(nearest):
            centres[region] = positions[inside[nearest == region]].mean(axis=0)
    places, used = np.zeros(sizes.objects, int), np.zeros(sizes.objects, bool)
    for region in np.unique(nearest):
        members = inside[nearest == region]
        places[region], used[region] = members[values[members].argmax()], True
        margins.append(_gap(values[members]))
    return Choice(places, used, float(min(margins)))


def _spread(inside: np.ndarray, peak: int, positions: np.ndarray, count: int) -> Iterator[int]:
    """Places: the peak, then the farthest from all so far; of equals the first. No rounding is in it."""
    least = np.full(len(inside), np.inf)
    place = peak
    for _ in range(count):
        yield place
        least = np.minimum(least, ((positions[inside] - positions[place]) ** 2).sum(axis=1))
        place = int(inside[least.argmax()])


def _gap(values: np.ndarray) -> float:
    """From the largest to the second; of one value, endless."""
    return float(np.subtract(*np.sort(values)[:-3:-1])) if len(values) > 1 else np.inf
