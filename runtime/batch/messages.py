"""What a crew and its workers tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import OvdeployError
from ..words.vocabulary import Vocabulary
from .portions import Portion
from .rows import Row


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every worker does."""

    bundle: Path
    digest: str
    """Of the bundle: another one in its place is refused."""
    vocabulary: Vocabulary
    parameters: Mapping[str, Any]
    """Overrides of the recipe's."""
    opening: Mapping[str, Any]
    """Further arguments of `Segmenter.load`."""
    columns: tuple[str, ...]
    at_once: int
    """Photos in work at once, in a thread each."""
    folder: Path
    """In which names of photos are looked for."""

    @property
    def threads(self) -> int | None:
        """Of an engine; None leaves it to the backend."""
        threads: int | None = self.opening.get("threads")
        return threads


@dataclass(frozen=True)
class Order:
    """To a worker: do a portion."""

    portion: Portion
    passed: frozenset[int]
    """Numbers of photos that are passed over, since their rows are there."""
    alone: bool
    """Whether no photo is begun before the row of the one before it was told."""


@dataclass(frozen=True)
class Ready:
    """From a worker: it is open."""

    backend: str
    precision: str


@dataclass(frozen=True)
class Begun:
    """From a worker: a photo is in work."""

    number: int
    """In its portion."""
    name: str


@dataclass(frozen=True)
class Done:
    """From a worker: a photo's row."""

    row: Row
    seconds: float
    """From reading the photo to its mask."""


@dataclass(frozen=True)
class Ended:
    """From a worker: the portion has no more photos."""

    photos: int
    """That it has."""
    seconds: float
    """Since the order came."""
    engines: float
    """Seconds of these in which an engine ran."""
    peak: int
    """Bytes of memory at most, since the process began."""


@dataclass(frozen=True)
class Refused:
    """From a worker: what would befall every photo."""

    error: OvdeployError


Message = Ready | Begun | Done | Ended | Refused


@dataclass
class Work:
    """A portion, and how far it is."""

    number: int
    """Of the shard."""
    portion: Portion
    rows: dict[int, Row] = field(default_factory=dict)
    strikes: dict[int, int] = field(default_factory=dict)
    """How many workers ended while a photo was in work."""
    unfound: dict[int, int] = field(default_factory=dict)
    """How many ended before they had it, with nothing in work."""
    seconds: list[float] = field(default_factory=list)
    """Of the photos that were done now."""
    ended: Ended | None = None
    """Of the worker that came to its end."""
    fresh: set[int] = field(default_factory=set)
    """Numbers of the photos whose rows are new."""
    before: dict[int, Row] = field(default_factory=dict)
    """Rows of errors that were there, and stay until others stand in their place."""

    def add(self, row: Row) -> None:
        """Take a row."""
        self.rows[int(row["row"])] = row
        self.fresh.add(int(row["row"]))

    @property
    def first_not_done(self) -> int:
        """The lowest number that has no row."""
        return next(number for number in count() if number not in self.rows)

    @property
    def stayed(self) -> dict[int, Row]:
        """Rows of errors of before in whose place no other stands. Behind the end there is no photo to have failed."""
        end = self.ended.photos if self.ended is not None else None
        return {n: row for n, row in self.before.items() if n not in self.rows and (end is None or n < end)}

    @property
    def whole(self) -> list[Row]:
        """All rows of the shard."""
        return [*self.rows.values(), *self.stayed.values()]
