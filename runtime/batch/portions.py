"""Portions: the photos of one shard, told in few words, so that a worker on any machine finds them."""

from __future__ import annotations

import io
import os
import tarfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import msgspec

from ..boundary.reading import opened, reason
from ..errors import OvdeployError, PhotoError, needing
from ..photo.fetching import MOST_BYTES, is_url
from ..photo.sources import RESULTS, is_photos_name
from ..photo.stored import Known
from . import stores
from .photos import BrokenPhoto, ContentPhoto, named_photo

AT_ONCE = 16
"""Values of a column that are taken out of a file together."""

LOOKED_AT = 1 << 16
"""Bytes behind a tar's end that are looked at together."""


class Portion(msgspec.Struct, frozen=True, tag=True):
    """The photos of a shard."""

    @abstractmethod
    def photos(self) -> Iterator[Known]:
        """The photos in their order, each read when its turn comes. What is damaged stands there as a photo that is."""

    @property
    def count(self) -> int | None:
        """How many they are; None where only reading tells."""
        return None

    def called(self, number: int) -> str:
        """What the photo at a number is called, as far as that is known before it is read."""
        return f"photo {number}"


class Names(Portion, frozen=True):
    """Photos that are named one by one."""

    names: tuple[bytes, ...]
    """Paths or URLs, as the system has them: not all names of files are UTF-8."""
    allow_urls: bool

    @property
    def count(self) -> int | None:
        """See `Portion.count`."""
        return len(self.names)

    def called(self, number: int) -> str:
        """See `Portion.called`."""
        return os.fsdecode(self.names[number])

    def photos(self) -> Iterator[Known]:
        """See `Portion.photos`."""
        return (named_photo(os.fsdecode(name), allow_urls=self.allow_urls) for name in self.names)


class Tar(Portion, frozen=True):
    """The photos in a tar, as webdataset has them. It is read from its beginning to its end."""

    name: bytes
    """A path, or a store's URL."""

    def called(self, number: int) -> str:
        """See `Portion.called`."""
        return os.fsdecode(self.name)

    def photos(self) -> Iterator[Known]:
        """See `Portion.photos`. A member's name is a name, and never a path on this machine."""
        name = os.fsdecode(self.name)
        try:
            with container(name) as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as archive:
                yield from (_member(archive, member, name) for member in _members(archive))
                _refuse_more(file, archive.offset)  # type: ignore[attr-defined]
        except PhotoError as error:
            yield BrokenPhoto(name, str(error), rest=True)
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            yield BrokenPhoto(name, f"{name}: the tar cannot be read to its end ({reason(error)})", rest=True)


class Rows(Portion, frozen=True):
    """Some rows of a column of Parquet: photos themselves, or their names."""

    name: bytes
    """A path, or a store's URL."""
    column: str
    first: int
    """Row, from 0."""
    rows: int
    allow_urls: bool

    @property
    def count(self) -> int | None:
        """See `Portion.count`."""
        return self.rows

    def called(self, number: int) -> str:
        """See `Portion.called`."""
        return f"{os.fsdecode(self.name)}/{self.first + number}"

    def photos(self) -> Iterator[Known]:
        """See `Portion.photos`."""
        name, done = os.fsdecode(self.name), 0
        try:
            with container(name) as file:
                for value in _values(file, self.column, self.first, self.rows):
                    yield self._photo(value, f"{name}/{self.first + done}")
                    done += 1
            why = f"{name}: the file has fewer rows than it had"
        except PhotoError as error:
            why = str(error)
        except Exception as error:  # on damaged files pyarrow raises nearly anything
            why = f"{name}: the Parquet file cannot be read ({reason(error)})"
        yield from (BrokenPhoto(f"{name}/{self.first + row}", why) for row in range(done, self.rows))

    def _photo(self, value: Any, place: str) -> Known:
        if isinstance(value, dict):  # as Hugging Face's datasets keep images
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes) and len(value) > MOST_BYTES:
            return BrokenPhoto(place, _too_large(place, len(value)))
        if isinstance(value, bytes):
            return ContentPhoto(place, value)
        if isinstance(value, str) and value:
            return self._named(value, place)
        return BrokenPhoto(place, f"{place}: expected a photo's bytes or its name in {self.column!r}, it is empty")

    def _named(self, value: str, place: str) -> Known:
        """The photo of a path or URL. A file from a store has nothing to say about paths on this machine."""
        if stores.is_stored(os.fsdecode(self.name)) and not (stores.is_stored(value) or is_url(value)):
            return BrokenPhoto(place, f"{place} names {value}, a path on this machine, which a file in a store may not")
        return named_photo(value, allow_urls=self.allow_urls)


def rows_in(name: str, column: str) -> int:
    """How many rows a Parquet file has.

    Args:
        name: a path, or a store's URL.
        column: that it must have.

    Raises:
        PhotoError: it cannot be read, or has no such column.
        MissingExtraError: pyarrow is not installed.
    """
    with needing("pyarrow", "table", "reading Parquet"):
        from pyarrow import parquet
    try:
        with container(name) as file, parquet.ParquetFile(file) as found:
            columns, rows = found.schema_arrow.names, int(found.metadata.num_rows)
    except OvdeployError:
        raise
    except Exception as error:  # as above
        raise PhotoError(f"{name}: the Parquet file cannot be read ({reason(error)})") from error
    if column not in columns:
        raise PhotoError(f"{name} has no column {column!r}; name one of {', '.join(columns)} by --column")
    return rows


@contextmanager
def container(name: str) -> Iterator[BinaryIO]:
    """A file that holds photos, on this machine or in a store.

    Raises:
        PhotoError: it cannot be read.
    """
    if not stores.is_stored(name):
        with opened(name, PhotoError, "the file of photos") as file:
            yield file
        return
    with stores.opened(name) as remote:
        yield cast(BinaryIO, remote)


class _Bounded(io.RawIOBase):
    """A file of which never more is read at once than a photo may have: a tar's headers may ask for anything."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_BYTES:
            raise ValueError(f"it asks for {size} bytes at once, and {MOST_BYTES} are the most")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The photos among the members, which are forgotten as they are gone through: there may be millions."""
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]
        name = member.name.rpartition("/")[2]
        if member.isreg() and is_photos_name(name) and not name.startswith(".") and not name.endswith(RESULTS):
            yield member


def _refuse_more(file: BinaryIO, offset: int) -> None:
    """Look at what lies where members end: the zeros that end a tar, and nothing behind them.

    `TarFile.next` gives None for a damaged header too, and for a file that is cut.

    Raises:
        EOFError: it is something else.
    """
    file.seek(offset)
    came = file.read(tarfile.BLOCKSIZE)
    if len(came) < tarfile.BLOCKSIZE:
        raise EOFError(f"it is cut after {offset + len(came)} bytes")
    if any(came):
        raise EOFError(f"the header at byte {offset} is damaged")
    while came:
        if any(came):
            raise EOFError(f"more follows behind its end at byte {offset}, as where tars were joined by cat")
        came = file.read(LOOKED_AT)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, of: str) -> Known:
    name = f"{of}/{member.name}"
    if member.size > MOST_BYTES or member.issparse():
        return BrokenPhoto(name, _too_large(name, member.size))
    file = archive.extractfile(member)
    assert file is not None, "it is a regular member"
    content = file.read(member.size)
    if len(content) < member.size:
        raise EOFError(f"{member.name} ends after {len(content)} of {member.size} bytes")
    return ContentPhoto(name, content)


def _too_large(name: str, size: int) -> str:
    return f"{name}: {size} bytes, and {MOST_BYTES} are the most that a photo may have"


def _values(file: BinaryIO, column: str, first: int, count: int) -> Iterator[Any]:
    """Values of a column, from a row on; only groups of rows that hold some are read."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as found:
        before, groups, skipped = 0, [], 0
        for group in range(found.metadata.num_row_groups):
            rows = found.metadata.row_group(group).num_rows
            if before + rows > first and before < first + count:
                groups.append(group)
            elif not groups:
                skipped = before + rows
            before += rows
        start, seen = first - skipped, 0
        for batch in found.iter_batches(AT_ONCE, row_groups=groups, columns=[column]):
            for value in batch.column(0).to_pylist():
                if start <= seen < start + count:
                    yield value
                seen += 1
            if seen >= start + count:
                return
