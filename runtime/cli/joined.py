"""What `segment` writes of all its photos together, once each has its own files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..answers.datasets import DATASETS, About, Member, write_dataset
from ..errors import warn
from ..photo.fetching import is_url
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

    def members(self, photos: Listing, *, together: bool) -> Iterator[Member]:
        """The photos in their order.

        Args:
            photos: all that were named.
            together: whether they lie in one folder, from which they are named; else they are named as they were given.
        """
        for source, name in zip(photos, result_names(photos, reserved_endings()), strict=True):
            if name not in self._failed:
                yield Member(name, Path(source.place).as_posix() if together else source.name)


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
        OutputError, ParameterError: an answer is gone, or is none.
        FileError: the system refuses a path.
    """
    of = whole.digest
    missing = [kind for kind in kinds if kind in DATASETS and of and not record.holds_dataset(DATASETS[kind].file, of)]
    if not missing:
        return []
    root = _root(photos)
    if not root:
        warn("photos do not lie in one folder, so datasets name them as they were given; --relative-to FOLDER names "
             "them from there")  # fmt: skip
    about = About(*classes(), Path(os.path.relpath(root, folder)).as_posix() if root else "")
    written = []
    for kind in missing:
        record.begin_dataset(DATASETS[kind].file)
        written.append(write_dataset(folder, kind, whole.members(photos, together=bool(root)), about))
        record.add_dataset(DATASETS[kind].file, of)
    return written


def _root(photos: Listing) -> str:
    """The folder that all photos' places begin at; empty if there is none."""
    roots = set()
    for name, place in photos:
        path, end = os.path.abspath(name), os.sep + os.path.normpath(place)
        roots.add("" if is_url(name) or not path.endswith(end) else path[: -len(end)] or os.sep)
        if len(roots) > 1:
            return ""
    return roots.pop() if roots else ""
