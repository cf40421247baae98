"""What `segment` writes of all its photos together, once each has its own files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..answers.datasets import DATASETS, About, Member, write_datasets
from ..photo.listing import Listing
from ..photo.naming import result_names
from .record import Record
from .tasks import Task, reserved_endings


class Whole:
    """The photos of a run whose results are there."""

    def __init__(self) -> None:
        self._sum, self._failed = 0, set[str]()

    def add(self, task: Task) -> None:
        """Count a photo in; the order does not matter."""
        told = repr((task.name, task.photo.name, task.photo.sha256)).encode("utf-8", "surrogatepass")
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(told).digest(), "big")) % (1 << 256)

    def miss(self, task: Task) -> None:
        """Leave a photo out."""
        self._failed.add(task.name)

    @property
    def digest(self) -> str:
        """Of the names and contents of all; empty where there are none."""
        return f"{self._sum:064x}" if self._sum else ""

    def members(self, photos: Listing) -> Iterator[Member]:
        """The photos in their order.

        Args:
            photos: all that were named.
        """
        for source, name in zip(photos, result_names(photos, reserved_endings()), strict=True):
            if name not in self._failed:
                yield Member(name, Path(source.place).as_posix())


def join(
    folder: Path,
    kinds: Sequence[str],
    photos: Listing,
    whole: Whole,
    record: Record,
    classes: Callable[[], tuple[tuple[str, ...], bool]],
) -> list[Path]:
    """Write the datasets that are not there yet, or that are of other photos.

    Args:
        folder: of the results.
        kinds: of answers.
        photos: all that were named.
        whole: those of them whose results are there.
        record: of the folder.
        classes: tells the names of the classes, and whether the first is the background.

    Returns:
        The files that were written.

    Raises:
        OutputError: an answer is gone, or is none.
        FileError: the system refuses a path.
    """
    of = whole.digest
    missing = [kind for kind in kinds if kind in DATASETS and of and not record.holds_dataset(DATASETS[kind].file, of)]
    if not missing:
        return []
    about = About(*classes(), _folder_of(photos, folder))
    written = write_datasets(folder, missing, lambda: whole.members(photos), about)
    for path in written:
        record.add_dataset(path.name, of)
    return written


def _folder_of(photos: Listing, folder: Path) -> str:
    """The folder that the first photo's place begins at, as seen from the folder of results."""
    name, place = photos[0]
    above = Path(name[: -len(place)] or ".") if name.endswith(place) else Path(name).parent
    return Path(os.path.relpath(above, folder)).as_posix()
