"""Names of results: distinct, after the photos' places, and found in time and memory that are linear in their number.

Only a 64-bit mark of each name is kept. Two names with the same mark are taken to be the same, which costs one of them
its plain name (once in ten million runs over a million photos), never a result.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b

import numpy as np

from .listing import Source


def result_names(photos: Collection[Source], reserved: Iterable[str] = ()) -> Iterator[str]:
    """A name for each photo's results: its place without the suffix where no other photo has the same, its whole place
    where one has, a number behind that where it is taken too.

    `a.png` and `b/a.jpg` become `a` and `b/a`; `a.png` and `a.jpg` keep their suffixes; of two `a.png` the second
    becomes `a.png-2`.

    Args:
        photos: with their places; read twice.
        reserved: endings that no plain name may have, since a result of another photo could be called so.

    Returns:
        The names in the photos' order, made as they are asked for. The same places have the same names.
    """
    endings = tuple(reserved)
    marks = np.fromiter((_mark(_plain(photo.place, endings)) for photo in photos), np.uint64, len(photos))
    kept, counts = np.unique(marks, return_counts=True)
    alone, shared = kept[counts == 1], kept[counts > 1]
    is_alone = ~np.isin(marks, shared)
    return _given((photo.place for photo in photos), is_alone, alone, endings)


def _given(places: Iterable[str], is_alone: np.ndarray, alone: np.ndarray, endings: tuple[str, ...]) -> Iterator[str]:
    made: set[int] = set()
    following: dict[int, int] = {}
    for place, free in zip(places, is_alone, strict=True):
        yield _plain(place, endings) if free else _whole(place, alone, made, following)


def _whole(place: str, alone: np.ndarray, made: set[int], following: dict[int, int]) -> str:
    """The whole place, or the first number behind it that is not taken.

    Args:
        place: of a photo whose plain name is another's too.
        alone: marks of the plain names that are given, sorted.
        made: marks of the other names that are given; the new one is added.
        following: the number to try next, by a place's mark, so that a thousand like names do not count from 2 again.
    """
    first = _mark(place)
    number = following.get(first, 1)
    name = place if number == 1 else f"{place}-{number}"
    while (mark := _mark(name)) in made or _holds(alone, mark):
        number += 1
        name = f"{place}-{number}"
    following[first] = number + 1
    made.add(mark)
    return name


def _plain(place: str, endings: tuple[str, ...]) -> str:
    stem = os.path.splitext(place)[0]
    return place if endings and stem.endswith(endings) else stem


def _mark(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _holds(ordered: np.ndarray, mark: int) -> bool:
    at = int(np.searchsorted(ordered, np.uint64(mark)))
    return at < len(ordered) and int(ordered[at]) == mark
