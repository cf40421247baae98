"""The record of `segment`: what was done in a folder of results, so that the same command again does the rest.

`segmented.jsonl` begins with a line of what all results depend on (bundle, words, parameters, …) and has one for every
photo that is done, written when its results are whole. A run that depends on something else begins the record anew
before it writes a result, so no line speaks of results that another run has written over. Every line carries a digest
of itself and of the first; what does not fit counts as not done. Datasets of all photos have lines too, with a digest
of their photos in the place of a photo's. Of each line only 16 bytes are kept in memory.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import numpy as np

from ..boundary.reading import opened
from ..errors import OutputError, PhotoError, printable
from ..kept.journal import append, appended, begun
from ..kept.lines import Lines
from ..kept.trust import log
from ..photo.stored import Known

RECORD = "segmented.jsonl"
DATASET = "/"
"""Before the name of a dataset's file, since no photo's results are named so."""
FORM = 1
"""Goes up when the results of the same photo, bundle, words and parameters become others."""

HEAD = Lines(b"ovdeploy segment")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that is done."""

    mark: str
    """Of its results' name."""
    name: str
    """The name itself, for people: one that is not UTF-8 has backslashes in it."""
    photo: str
    """SHA-256 of the photo's content."""
    stamp: tuple[int, ...]
    """Of the photo's file."""
    files: dict[str, int]
    """Bytes of its results, by suffix."""


class _Mark(msgspec.Struct):
    mark: str


class Record:
    """What is done in a folder. A context manager."""

    def __init__(self, folder: Path, depends: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Look what is done; nothing is written yet.

        Args:
            folder: of the results.
            depends: all that results depend on but the photo, as plain values.
            overwrite: whether everything counts as not done.

        Raises:
            OutputError: what lies there is no file that can be read.
        """
        self._folder, self._path = folder, folder / RECORD
        self._head = msgspec.json.encode({"form": FORM, **depends}, order="sorted")
        self._lines = Lines(self._head)
        self._file: BinaryIO | None = None
        self._old: BinaryIO | None = None
        self.differs: tuple[str, ...] = ()
        """What the record that lies there depends on otherwise; it will be begun anew."""
        self._marks, self._starts = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self._overwrite = overwrite
        if os.path.lexists(self._path):
            self._look()

    def _look(self) -> None:
        """Find out where each photo's last line is."""
        with opened(self._path, OutputError, "the record of what is done") as file:
            head = file.readline()
            said = HEAD.read(head)
            if said != self._head:
                self.differs = _differences(said, self._head)
                return
            self._indexed(file, len(head))
            self._old = open(os.dup(file.fileno()), "rb")  # noqa: SIM115 (closed with the record)

    def _indexed(self, file: BinaryIO, start: int) -> None:
        marks, starts, unfit = array("Q"), array("Q"), 0
        decoder = msgspec.json.Decoder(_Mark)
        for line in file:
            entry = self._lines.read(line)
            if entry is not None:
                marks.append(int(decoder.decode(entry).mark[:16], 16))
                starts.append(start)
            unfit += entry is None
            start += len(line)
        if unfit:
            log.warning("%s: %d lines are damaged or cut short; their photos are done again", self._path, unfit)
        kept = np.frombuffer(marks, np.uint64)[::-1]  # of a photo's lines the last one counts
        self._marks, places = np.unique(kept, return_index=True)
        self._starts = np.frombuffer(starts, np.uint64)[::-1][places]

    def __len__(self) -> int:
        return len(self._marks)

    def holds(self, name: str, photo: Known, suffixes: Iterable[str]) -> bool:
        """Whether a photo is done: its results are there, and it is the photo that they were made of.

        The photo itself is read only where its file is not the one that was read then.

        Args:
            name: of its results.
            photo: as it is now.
            suffixes: of the results that are asked for.
        """
        entry = self._entry(name)
        if entry is None or self._overwrite or not self._there(name, entry, suffixes):
            return False
        stamp = photo.current_stamp()
        if stamp and stamp == entry.stamp:
            photo.sha256, photo.stamp = entry.photo, stamp
            return True
        try:
            same = photo.look() == entry.photo
        except PhotoError:
            return False  # it is told when it is tried
        if same and photo.stamp:
            self._write(msgspec.structs.replace(entry, stamp=photo.stamp))
        return same

    def _there(self, name: str, entry: Entry, suffixes: Iterable[str]) -> bool:
        try:
            return all(os.stat(self._folder / f"{name}{suffix}").st_size == entry.files[suffix] for suffix in suffixes)
        except (OSError, KeyError):
            return False

    def _entry(self, name: str) -> Entry | None:
        """The last entry of a name."""
        mark = mark_of(name)
        short = np.uint64(int(mark[:16], 16))
        at = int(np.searchsorted(self._marks, short))
        if self._old is None or at == len(self._marks) or self._marks[at] != short:
            return None
        self._old.seek(int(self._starts[at]))
        said = self._lines.read(self._old.readline())
        entry = msgspec.json.decode(said, type=Entry) if said is not None else None
        return entry if entry is not None and entry.mark == mark else None

    def begin(self, name: str) -> None:
        """Make ready to write a photo's results: what was said of them before no longer holds.

        Args:
            name: of the results.

        Raises:
            OutputError: no record can be written there.
            BusyError: another run with other words or parameters is writing there.
        """
        before = self._entry(name)
        if self._ready() and before is not None:
            self._write(msgspec.structs.replace(before, photo="", stamp=(), files={}))

    def _ready(self) -> BinaryIO:
        """The file, from now on a record of this run's results alone."""
        if self._file is None:
            self._file = appended(self._path, OutputError)
            begun(self._file, HEAD.written(self._head), f"{self._folder}: another `segment` with another bundle, other "
                  f"words or parameters is writing there; give another --output")  # fmt: skip
        return self._file

    def add(self, name: str, photo: Known, suffixes: Iterable[str]) -> None:
        """Record that a photo's results are whole, with those of before that still are.

        Args:
            name: of its results.
            photo: that was read; one that changed meanwhile is not recorded, and done again next time.
            suffixes: of the results that were written.

        Raises:
            OSError: the results are gone, or the disk is full.
        """
        if not photo.sha256:
            return
        files = {suffix: os.stat(self._folder / f"{name}{suffix}").st_size for suffix in suffixes}
        before = None if self._overwrite else self._entry(name)
        if before is not None and before.photo == photo.sha256:
            files = {**before.files, **files}
        self._write(Entry(mark=mark_of(name), name=printable(name), photo=photo.sha256, stamp=photo.stamp, files=files))

    def holds_dataset(self, file: str, of: str) -> bool:
        """Whether a dataset of many photos is there.

        Args:
            file: its name.
            of: digest of its photos' names and contents.
        """
        entry = None if self._overwrite else self._entry(DATASET + file)
        return entry is not None and entry.photo == of and self._there(file, entry, [""])

    def begin_dataset(self, file: str) -> None:
        """Make ready to write a dataset: what was said of it before no longer holds.

        Args:
            file: its name.

        Raises:
            OutputError, BusyError: as `begin`.
        """
        self.begin(DATASET + file)

    def add_dataset(self, file: str, of: str) -> None:
        """Record that a dataset of many photos is whole.

        Args:
            file: its name.
            of: digest of its photos' names and contents.

        Raises:
            OSError: it is gone, or the disk is full.
        """
        size = os.stat(self._folder / file).st_size
        self._write(Entry(mark=mark_of(DATASET + file), name=file, photo=of, stamp=(), files={"": size}))

    def _write(self, entry: Entry) -> None:
        append(self._ready(), self._lines.written(msgspec.json.encode(entry)))

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._file, self._old):
            if file is not None:
                file.close()


def mark_of(name: str) -> str:
    """What stands for a name, of whatever characters."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _differences(there: bytes | None, here: bytes) -> tuple[str, ...]:
    """The keys in which two records differ."""
    if there is None:
        return ("the record cannot be read",)
    one, other = msgspec.json.decode(there), msgspec.json.decode(here)
    return tuple(sorted(key for key in {*one, *other} if one.get(key) != other.get(key)))
