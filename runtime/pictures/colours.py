"""Colours of classes: as different as they can be, and such as suit common words."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from functools import cache, lru_cache

import cv2
import numpy as np

from .common_words import COLOURS

DISTINCT = 256
"""Colours that differ; further classes take them again."""

GOLDEN_RATIO = 0.618033988749895
BY_HUE = 8
"""The first colours, whose hues go round by the golden ratio."""

STEP = 17
"""Between the candidates for the other colours, in each of red, green and blue."""

LIGHTNESS = (25, 95)
"""Of candidates, of 100: neither black, nor the white of a legend."""

APART = 20.0
"""Distance in CIELAB at which classes are told apart at a glance. (From 2.3 on, two patches side by side differ.)"""

ASTRAY = 40.0
"""Distance in CIELAB from a word's colour at which another one suits it no longer."""


def palette(count: int) -> np.ndarray:
    """[count, 3] uint8 RGB: a class keeps its colour in every picture, and the first 256 differ.

    Any two of the first 64 differ by at least 24 in CIELAB (CIE 1976), of 256 by 12.
    """
    return np.resize(_distinct(), (count, 3))


def colours_of(names: Sequence[str]) -> np.ndarray:
    """[C, 3] uint8 RGB, the colours of classes: the sky is blue, grass is green.

    A class whose name holds a common word, or a colour's name, has a colour that suits it, as far as classes before it
    have none like it. The others have those of `palette` in their order, without what the former have taken. The same
    names always have the same colours.

    Args:
        names: of the classes.
    """
    return _colours_of(tuple(names)).copy()


@lru_cache(maxsize=16)
def _colours_of(names: tuple[str, ...]) -> np.ndarray:
    chosen = np.zeros((len(names), 3), np.uint8)
    suiting: dict[int, np.ndarray] = {}
    free = _Free(_candidates())
    for index, name in enumerate(names):
        wish = _wish(name)
        if wish is not None and len(suiting) < DISTINCT:
            colour = free.nearest(wish)
            if colour is not None:
                suiting[index] = colour
                free.take(colour)
    for index, colour in suiting.items():
        chosen[index] = colour
    others = _Free(_distinct())
    for colour in suiting.values():
        others.take(colour)
    rest = [index for index in range(len(names)) if index not in suiting]
    chosen[rest] = np.resize(others.left(), (len(rest), 3))
    return chosen


class _Free:
    """Colours of which some are taken, and with them all that are like these."""

    def __init__(self, colours: np.ndarray) -> None:
        self._colours, self._lab = colours, to_lab(colours)
        self._away = np.full(len(colours), np.inf)

    def take(self, colour: np.ndarray) -> None:
        """Take a colour, whether it is one of these or not."""
        self._away = np.minimum(self._away, _distance(self._lab, to_lab(colour[None])))

    def left(self) -> np.ndarray:
        """[N, 3] uint8 RGB: those that are not taken; all, if none is left."""
        apart = self._away >= APART
        return self._colours[apart] if apart.any() else self._colours

    def nearest(self, wish: np.ndarray) -> np.ndarray | None:
        """The colour that is nearest to a wish; None if all are too far off."""
        off = np.where(self._away >= APART, _distance(self._lab, to_lab(wish[None])), np.inf)
        best = int(off.argmin())
        return self._colours[best] if off[best] <= ASTRAY else None


@cache
def _distinct() -> np.ndarray:
    """[256, 3] uint8: a few by their hue, then each time the candidate that is farthest from all before."""
    colours = [_by_hue(index) for index in range(BY_HUE)]
    candidates = _candidates()
    lab = to_lab(candidates)
    away = np.min([_distance(lab, to_lab(colour[None])) for colour in colours], axis=0)
    while len(colours) < DISTINCT:
        best = int(away.argmax())
        colours.append(candidates[best])
        away = np.minimum(away, _distance(lab, lab[best : best + 1]))
    return np.array(colours)


def _by_hue(index: int) -> np.ndarray:
    saturation, value = (0.75, 0.95) if index % 2 == 0 else (0.6, 0.75)
    colour = colorsys.hsv_to_rgb((0.02 + index * GOLDEN_RATIO) % 1, saturation, value)
    return np.round(np.array(colour) * 255).astype(np.uint8)


@cache
def _candidates() -> np.ndarray:
    """[N, 3] uint8 RGB."""
    values = np.arange(0, 256, STEP, dtype=np.uint8)
    grid = np.stack(np.meshgrid(values, values, values, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = to_lab(grid)[:, 0]
    return grid[(lightness >= LIGHTNESS[0]) & (lightness <= LIGHTNESS[1])]


def _wish(name: str) -> np.ndarray | None:
    """The colour that suits a name: of its last word that has one, for the noun comes last ("green sky scraper"), but
    a colour's own name comes first; None without such a word."""
    words = re.split(r"[\W_]+", name.casefold())
    known = [COLOURS[word] for word in words if word in COLOURS]
    named = [entry.rgb for entry in known if entry.names_colour]
    suiting = named or [entry.rgb for entry in reversed(known)]
    return np.array(suiting[0], np.uint8) if suiting else None


def to_lab(colours: np.ndarray) -> np.ndarray:
    """[N, 3] float32 CIELAB (D65) of [N, 3] uint8 RGB: lightness 0 to 100, a, b."""
    lab: np.ndarray = cv2.cvtColor((colours[None] / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    return lab


def _distance(lab: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[N]: the CIE 1976 distance of [N, 3] from [1, 3]."""
    distance: np.ndarray = np.linalg.norm(lab - other, axis=1)
    return distance
