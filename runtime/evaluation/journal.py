"""The journal of a run: a line for every photo, written when it is done, so that a killed run can go on.

Nothing but the journal goes into the figures; a run that was killed and one that was not therefore end alike. Every
line carries a digest of itself and of the run. One that does not fit is dropped and told, and its photo done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from ..errors import ParameterError
from ..files import atomic_path, write_bytes
from ..kept.journal import append, appended
from ..kept.lines import Lines
from ..kept.trust import UnfitError, log, open_kept
from .precision import Matches

RUN, JOURNAL = "run.json", "journal.jsonl"

BUNDLE = "bundle"
"""Name of the predictor that is measured; what it is compared with goes by other names."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Measurements of one mask of one photo."""

    predictor: str
    kind: str
    """Of the mask: `refined`, `coarse`, or a rival's own."""
    cells: list[tuple[int, int, int]]
    """The confusion's entries that are not 0: what it is, what it was called, pixels."""
    boundary: dict[int, float]
    """Boundary F-score by class."""
    agreement: dict[str, int] = {}
    """Counted pixels on which a rival's mask of the same kind says the same, by the rival's column."""

    @property
    def column(self) -> str:
        """The name that it goes by in tables."""
        return column_name(self.predictor, self.kind)


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """How a predictor's instances of one photo match the things that are there."""

    predictor: str
    compared: str
    """A key of `precision.COMPARED`."""
    classes: list[Matches]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A photo that was done, or that failed."""

    photo: str
    error: str | None = None
    measured: list[Measured] = []
    """The bundle's masks first, the one that counts before the others."""
    milliseconds: dict[str, float] = {}
    """By predictor."""
    matched: list[Matched] = []
    """Of predictors that find single things, where the things are known."""


def column_name(predictor: str, kind: str) -> str:
    """`coarse` of the bundle itself, `torch coarse` of a rival, `colour` where rival and kind are called the same."""
    return kind if predictor in (BUNDLE, kind) else f"{predictor} {kind}"


class Journal:
    """The entries of a run, in a folder. A context manager; entries are on disk when `add` returns.

    Of the photos only the names are kept in memory, and where their lines are; entries are read again when they are
    asked for.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, restart: bool = False) -> None:
        """Begin a run, or go on with the one that lies there.

        Args:
            folder: the run's.
            identity: all that the figures depend on.
            restart: throw away what lies there.

        Raises:
            ParameterError: what lies there is another run, or no journal can be written there.
        """
        self._path = folder / JOURNAL
        plain = msgspec.json.decode(msgspec.json.encode(identity))
        self._lines = Lines(msgspec.json.encode(plain, order="sorted"))
        self._file = _locked(self._path)
        try:
            if restart:
                self._file.truncate(0)
            fitting, foreign = self._counted()
            if foreign and not fitting:
                _refuse_other(folder, plain)
            if foreign:
                log.warning("%s: lines that are damaged, cut short or of another form: %d; their photos are done again",
                            self._path, foreign)  # fmt: skip
                self._file = self._rewritten()
            _describe(folder, plain)
        except ParameterError:
            self._file.close()
            raise
        self.done = {entry.photo for entry in self.entries() if entry.error is None}
        """Photos that need not be done again; those that failed are tried again."""

    def add(self, entry: Entry) -> None:
        """Write an entry."""
        append(self._file, self._lines.written(msgspec.json.encode(entry)))
        if entry.error is None:
            self.done.add(entry.photo)

    def entries(self) -> Iterator[Entry]:
        """All entries as they were written; of a photo that failed and was tried again, both."""
        decoder = msgspec.json.Decoder(Entry)
        with self._reading() as file:
            for line in file:
                if entry := self._lines.read(line):
                    yield decoder.decode(entry)

    def entries_of(self, names: Iterable[str]) -> Iterator[Entry]:
        """The entries of photos in the order of their names, so that sums do not depend on when each was done."""
        places: dict[str, list[int]] = {}
        decoder = msgspec.json.Decoder(Entry)
        with self._reading() as file:
            start = 0
            for line in file:
                if entry := self._lines.read(line):
                    places.setdefault(decoder.decode(entry).photo, []).append(start)
                start += len(line)
            for start in (start for name in names for start in places.get(name, ())):
                file.seek(start)
                if entry := self._lines.read(file.readline()):
                    yield decoder.decode(entry)

    def lost(self) -> set[str]:
        """Photos that were done and whose lines are no longer there: somebody wrote to the file. To be done again."""
        there = {entry.photo for entry in self.entries() if entry.error is None}
        lost, self.done = self.done - there, there
        if lost:
            log.warning("%s was altered while it was in use; %d photos are done again", self._path, len(lost))
        return lost

    def _reading(self) -> BinaryIO:
        """What this process writes to, from its beginning, whatever lies under its name by now."""
        file = open(os.dup(self._file.fileno()), "rb")  # noqa: SIM115 (who asked closes it)
        file.seek(0)
        return file

    def _counted(self) -> tuple[int, int]:
        """How many lines fit, and how many do not."""
        with self._reading() as file:
            fits = [self._lines.read(line) is not None for line in file]
        return sum(fits), len(fits) - sum(fits)

    def _rewritten(self) -> BinaryIO:
        """A journal of the lines that fit, whole or not at all, and locked before anybody can see it."""
        with atomic_path(self._path) as temporary:
            with self._reading() as before, open(temporary, "wb") as after:
                after.writelines(line for line in before if self._lines.read(line))
            file = _locked(temporary)
        self._file.close()
        return file

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _locked(path: Path) -> BinaryIO:
    """The journal, opened for appending by this process alone.

    Raises:
        ParameterError: another one has it, or it is no file that can be written.
    """
    while True:
        file = appended(path, ParameterError)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise ParameterError(f"{path.parent}: another evaluation is writing here; give another --output") from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()  # another process had just rewritten it


def _describe(folder: Path, identity: dict[str, Any]) -> None:
    try:
        write_bytes(folder / RUN, msgspec.json.format(msgspec.json.encode(identity), indent=1))
    except OSError as error:
        raise ParameterError(f"{error.strerror or error}; give another --output") from error


def _described(folder: Path) -> Any:
    """The identity of the run that lies in a folder; None if it cannot be read."""
    try:
        descriptor = open_kept(folder / RUN)
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:
            return msgspec.json.decode(file.read())
    except (OSError, UnfitError, msgspec.DecodeError, RecursionError):
        return None


def _refuse_other(folder: Path, identity: dict[str, Any]) -> None:
    """Refuse a run whose lines are all foreign, unless its description is ours."""
    there = _described(folder)
    if there == identity:
        return
    told = "what it is cannot be read"
    if isinstance(there, dict):
        told = ", ".join(sorted(key for key in {*there, *identity} if there.get(key) != identity.get(key)))
        told = f"it differs in: {told}"
    raise ParameterError(
        f"{folder} holds another evaluation ({told}); give another --output, or --restart to throw that one away"
    )
