"""The plan: what is there, divided into portions in the same way by everybody who looks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, overload

from ..boundary.reading import is_folder, listed
from ..errors import ParameterError, PhotoError, shown
from ..photo.listing import Listing, Source
from ..photo.sources import sources
from . import stores
from .portions import Names, Portion, Rows, Tar, rows_in

SHARD = 1000
"""Photos of a shard, unless somebody says otherwise."""


class Division(NamedTuple):
    """How photos are divided."""

    size: int = SHARD
    """Photos of a shard. A tar is one, whatever it holds."""
    column: str = "image"
    """Of files of Parquet: where photos are, or their names."""
    recursive: bool = True
    """Whether folders are searched to the bottom."""
    allow_urls: bool = False
    """Whether photos may be fetched that lists and columns name by URLs."""


PARQUET = ".parquet"


def _tar(name: str, division: Division) -> list[Portion]:
    return [Tar(os.fsencode(name))]


def _parquet(name: str, division: Division) -> list[Portion]:
    rows, size = rows_in(name, division.column), division.size
    return [
        Rows(os.fsencode(name), division.column, first, min(size, rows - first), division.allow_urls)
        for first in range(0, rows, size)
    ]


CONTAINERS: dict[str, Callable[[str, Division], list[Portion]]] = {".tar": _tar, PARQUET: _parquet}
"""Files that hold photos: the portions of one, by its suffix."""


class Plan(Sequence[Portion]):
    """Portions in their order, made when they are asked for: first of photos that are named, then of files that hold
    photos.

    Attributes:
        digest: of the names of all, and of the sizes of files that hold photos.
        photos: how many; None where only reading tells.
    """

    def __init__(
        self,
        photos: Listing,
        containers: Iterable[str] = (),
        division: Division | None = None,
        sizes: Mapping[str, int] | None = None,
        *,
        allowed: bool = False,
    ) -> None:
        """Divide photos.

        Args:
            photos: named one by one.
            containers: files that hold photos, paths or URLs of stores.
            division: how.
            sizes: bytes of containers, as far as they are known.
            allowed: whether photos that are named may be fetched, whatever the division says of lists and columns.

        Raises:
            PhotoError: a file that holds photos cannot be read.
            ParameterError: a shard would have no photo.
        """
        self._listing, self._division = photos, division or Division()
        if self._division.size < 1:
            raise ParameterError(f"a shard of {shown(self._division.size)} photos: expected 1 or more")
        self._allowed = allowed or self._division.allow_urls
        files = list(containers)
        self._others = [portion for name in files for portion in CONTAINERS[_suffix(name)](name, self._division)]
        told = [
            photos.digest,
            *(f"{name} {_bytes_of(name, sizes or {})}" for name in files),
            *_divides(files, self._division),
        ]
        self.digest = hashlib.sha256("\n".join(told).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def photos(self) -> int | None:
        """Photos; None where only reading tells."""
        others = [portion.count for portion in self._others]
        known = [count for count in others if count is not None]
        return len(self._listing) + sum(known) if len(known) == len(others) else None

    def __len__(self) -> int:
        return self._named + len(self._others)

    @property
    def _named(self) -> int:
        """Portions of photos that are named."""
        return -(-len(self._listing) // self._division.size)

    @overload
    def __getitem__(self, index: int) -> Portion: ...

    @overload
    def __getitem__(self, index: slice) -> list[Portion]: ...

    def __getitem__(self, index: int | slice) -> Portion | list[Portion]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        if at >= self._named:
            return self._others[at - self._named]
        size = self._division.size
        names = tuple(os.fsencode(source.name) for source in self._listing[at * size : (at + 1) * size])
        return Names(names, self._allowed)


def planned(source: str, division: Division | None = None) -> Plan:
    """The plan for what somebody names.

    Args:
        source: a folder, a photo, a glob, `@LIST`, `-`, a tar, a file of Parquet, or a store's URL of any of these. A
            folder without photos stands for the files in it that hold photos.
        division: how photos are divided.

    Raises:
        PhotoError: nothing is there, or it cannot be read.
        MissingExtraError: what is named needs a library that is not installed.
    """
    division = division or Division()
    stored = stores.is_stored(source)  # whoever named it on the command line wants its objects fetched, and no others
    sizes: dict[str, int] = {}
    names = _Divided(_stored(source, sizes) if stored else _local(source, division.recursive))
    photos = Listing(names)  # while it is filled, the others are put aside
    if not photos and not names.containers:
        raise PhotoError(f"{source}: there are no photos, and no files that hold photos ({', '.join(CONTAINERS)})")
    return Plan(photos, names.containers, division, sizes, allowed=stored)


class _Divided:
    """Goes through what is named, and puts aside what holds photos."""

    def __init__(self, named: Iterable[Source]) -> None:
        self._named = named
        self.containers: list[str] = []

    def __iter__(self) -> Iterator[Source]:
        for source in self._named:
            if _suffix(source.name) in CONTAINERS:
                self.containers.append(source.name)
            else:
                yield source


def _stored(url: str, sizes: dict[str, int]) -> Iterator[Source]:
    """What lies in a store; the sizes of files that hold photos are noted, since asking for each takes a request."""
    for each, size in stores.listed(url):
        if _suffix(each) in CONTAINERS:
            sizes[each] = size
            yield Source(each, each)
        elif stores.is_wanted(each):
            yield Source(each, each)


def _local(source: str, recursive: bool) -> Iterator[Source]:
    """What lies here; a folder that holds no photos gives its files that do."""
    found = sources([source], recursive=recursive)
    if not is_folder(source):
        return found
    first = next(found)
    if is_folder(first.name):
        held = [path for path in listed(Path(source), PhotoError) if _suffix(path.name) in CONTAINERS]
        return (Source(str(path), path.name) for path in held if not path.name.startswith("."))
    return _chained(first, found)


def _chained(first: Source, others: Iterator[Source]) -> Iterator[Source]:
    yield first
    yield from others


def _divides(files: Iterable[str], division: Division) -> list[str]:
    """What shards depend on beside names and sizes: leave to fetch is none of it, and may be given later."""
    columns = {division.column for name in files if _suffix(name) == PARQUET}
    return [str(division.size), *columns]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _bytes_of(name: str, sizes: Mapping[str, int]) -> int:
    """Of a file that holds photos.

    Raises:
        PhotoError: the system does not say.
    """
    if stores.is_stored(name):
        return sizes[name] if name in sizes else stores.size_of(name)
    try:
        return os.stat(name).st_size
    except (OSError, ValueError) as error:
        raise PhotoError(f"{name} cannot be read ({error})") from error
