"""The photos of a long run of `segment`: what is done already, what is to be done, and how much room that takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..answers.datasets import ENDING
from ..answers.kinds import KINDS, kind_named
from ..photo.listing import Listing
from ..photo.naming import result_names
from ..photo.stored import Known, known_photo
from .record import Record

LOSSY = (".avif", ".jp2", ".jpeg", ".jpg", ".webp")
"""Suffixes of photos that are smaller than a lossless picture of the same size."""

OVERLAY = "overlay"
SAMPLE = 1000
"""Photos whose size is asked for, to estimate the room that the results of all take."""


class Task(NamedTuple):
    """A photo, and the name of its results in their folder."""

    photo: Known
    name: str


def suffixes_of(kinds: Sequence[str]) -> list[str]:
    """Of the files of some kinds of answers."""
    return [suffix for kind in kinds for suffix in kind_named(kind).suffixes]


def pending(
    photos: Listing, record: Record, kinds: Sequence[str], *, allow_urls: bool, skipped: Callable[[Task], None]
) -> Iterator[Task]:
    """The photos that are to be done, as they are asked for.

    Args:
        photos: all that were named.
        record: what is done.
        kinds: of answers that are asked for.
        allow_urls: whether photos may be fetched.
        skipped: is told of each photo that is passed over, since it is done.
    """
    suffixes = suffixes_of(kinds)
    for source, name in zip(photos, result_names(photos, reserved_endings()), strict=True):
        task = Task(known_photo(source.name, allow_urls=allow_urls), name)
        if record.holds(name, task.photo, suffixes):
            skipped(task)
        else:
            yield task


def reserved_endings() -> tuple[str, ...]:
    """Endings of names by which a photo's result would be called as another's or a dataset's: `.coco`, as there are
    `.json` and `.coco.json`."""
    suffixes = suffixes_of(list(KINDS))
    pairs = ((longer, shorter) for longer in suffixes for shorter in suffixes if longer != shorter)
    return (ENDING, *sorted({longer.removesuffix(shorter) for longer, shorter in pairs if longer.endswith(shorter)}))


def least_bytes(photos: Listing, done: int, kinds: Sequence[str]) -> int:
    """About what the results take at least, with an overlay: it is no smaller than a photo that lost details, and with
    the mask no smaller than a quarter of one that did not. Nothing is known of other kinds.

    Args:
        photos: all; of many a part is looked at.
        done: how many of them need no room, about.
        kinds: of answers that are asked for.
    """
    if OVERLAY not in kinds or not photos:
        return 0
    sample = photos[:: -(-len(photos) // SAMPLE)]
    sizes = (_size_of(name) // (1 if name.lower().endswith(LOSSY) else 4) for name, _ in sample)
    return sum(sizes) * max(len(photos) - done, 0) // len(sample)


def _size_of(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size if os.path.isfile(path) else 0
    except (OSError, ValueError):
        return 0
