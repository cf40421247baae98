"""Ways that things move in a clip: where the middle of a thing is at each moment, and how large it is.

A moment is a number from 0, the first frame, to 1, the last. Places are shares of the picture's sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .materials import Rng

OUTSIDE = 0.75
"""How far beyond the middle of a side a thing that leaves goes, in shares of that side: past its own length."""

AWAY = 0.35
"""The moment at which a thing that leaves is as far off as that; it comes back from 1 − AWAY on."""


class Track(NamedTuple):
    """A thing's way through a clip of T frames."""

    centres: np.ndarray
    """[T, 2] float64, x y in shares of the picture's width and height."""
    sizes: np.ndarray
    """[T] float64, its radius as a multiple of its own."""


Way = Callable[[Rng, np.ndarray, np.ndarray], Track]
"""Makes a track of random numbers, moments [T], and the place [2] where things that cross meet."""


def _spot(rng: Rng) -> np.ndarray:
    return rng.uniform(0.15, 0.85, 2)


def _between(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    between: np.ndarray = start + (end - start) * share[:, None]
    return between


def wait(rng: Rng, moments: np.ndarray, meeting: np.ndarray) -> Track:
    """Stay where it is."""
    return Track(np.repeat(_spot(rng)[None], len(moments), 0), np.ones(len(moments)))


def drift(rng: Rng, moments: np.ndarray, meeting: np.ndarray) -> Track:
    """Go from one place to another, on a bend."""
    centres = _between(_spot(rng), _spot(rng), moments)
    bend = rng.uniform(-0.1, 0.1, 2) * np.sin(np.pi * moments)[:, None]
    return Track(centres + bend, np.ones(len(moments)))


def cross(rng: Rng, moments: np.ndarray, meeting: np.ndarray) -> Track:
    """Pass over the place where all that cross meet, half-way."""
    angle = rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(0.25, 0.35) * np.array([np.cos(angle), np.sin(angle)])
    return Track(_between(meeting - reach, meeting + reach, moments), np.ones(len(moments)))


def leave(rng: Rng, moments: np.ndarray, meeting: np.ndarray) -> Track:
    """Go out of the picture, stay away about half-way, and come back."""
    start = _spot(rng)
    end = np.full(2, 0.5)
    end[rng.integers(2)] += rng.choice((-1, 1)) * (0.5 + OUTSIDE)
    share = np.minimum(np.sin(np.pi * moments) / np.sin(np.pi * AWAY), 1)
    return Track(_between(start, end, share), np.ones(len(moments)))


def grow(rng: Rng, moments: np.ndarray, meeting: np.ndarray) -> Track:
    """Come nearer or go away: twice as large or half, in place."""
    share = moments if rng.random() < 0.5 else 1 - moments
    return Track(np.repeat(_spot(rng)[None], len(moments), 0), 0.7 * 2**share)


WAYS: dict[str, Way] = {"cross": cross, "leave": leave, "grow": grow, "drift": drift, "wait": wait}

ALWAYS = ("cross", "cross", "leave", "grow")
"""The ways of the first things of every clip."""
