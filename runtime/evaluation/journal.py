"""The journal of a run: a line for every photo, written when it is done, so that a killed run can go on.

Nothing but the journal goes into the figures; a run that was killed and one that was not therefore end alike.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from ..errors import ParameterError
from ..files import write_bytes

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


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A photo that was done, or that failed."""

    photo: str
    error: str | None = None
    measured: list[Measured] = []
    """The bundle's masks first, the one that counts before the others."""
    milliseconds: dict[str, float] = {}
    """By predictor."""


def column_name(predictor: str, kind: str) -> str:
    """`coarse` of the bundle itself, `torch coarse` of a rival, `colour` where rival and kind are called the same."""
    return kind if predictor in (BUNDLE, kind) else f"{predictor} {kind}"


class Journal:
    """The entries of a run, in a folder. A context manager; entries are on disk when `add` returns.

    Of the photos only the names are kept in memory; entries are read again when they are asked for.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, restart: bool = False) -> None:
        """Begin a run, or go on with the one that lies there.

        Args:
            folder: the run's.
            identity: all that the figures depend on.
            restart: throw away what lies there.

        Raises:
            ParameterError: what lies there is another run.
        """
        self._path = folder / JOURNAL
        plain = msgspec.json.decode(msgspec.json.encode(identity))
        folder.mkdir(parents=True, exist_ok=True)
        self._file = _locked(self._path)
        try:
            if restart:
                self._file.truncate(0)
            elif self._path.stat().st_size:
                _refuse_other(folder, plain)
        except ParameterError:
            self._file.close()
            raise
        write_bytes(folder / RUN, msgspec.json.format(msgspec.json.encode(plain), indent=1))
        _cut_torn_line(self._path)
        self.done = {entry.photo for entry in self.entries() if entry.error is None}
        """Photos that need not be done again; those that failed are tried again."""

    def add(self, entry: Entry) -> None:
        """Write an entry."""
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
        if entry.error is None:
            self.done.add(entry.photo)

    def entries(self) -> Iterator[Entry]:
        """All entries as they were written; of a photo that failed and was tried again, both."""
        decoder = msgspec.json.Decoder(Entry)
        with open(self._path, "rb") as file:
            for line in file:
                try:
                    yield decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue  # a damaged line: its photo is done again

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _locked(path: Path) -> BinaryIO:
    """The journal, opened for appending by this process alone.

    Raises:
        ParameterError: another one has it.
    """
    file = open(path, "ab")  # noqa: SIM115 (the journal closes it)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ParameterError(f"{path.parent}: another evaluation is writing here; give another --output") from error
    return file


def _cut_torn_line(path: Path) -> None:
    """Drop what follows the last end of line: a write that was cut short."""
    whole = 0
    with open(path, "r+b") as file:
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
        file.truncate(whole)


def _refuse_other(folder: Path, identity: dict[str, Any]) -> None:
    try:
        there = msgspec.json.decode((folder / RUN).read_bytes())
    except (OSError, msgspec.DecodeError):
        there = {}
    if there == identity:
        return
    differs = sorted(key for key in {*there, *identity} if there.get(key) != identity.get(key))
    raise ParameterError(
        f"{folder} holds another evaluation (it differs in: {', '.join(differs)}); "
        f"give another --output, or --restart to throw that one away"
    )
