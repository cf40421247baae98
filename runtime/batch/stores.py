"""Stores of objects, through fsspec: listed, and read with patience.

A request that fails is made again, a bounded number of times. A store's keys are names and nothing else: none of them
becomes a path on this machine.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ..errors import MissingExtraError, PhotoError, needing
from ..photo.fetching import MOST_BYTES
from ..photo.sources import RESULTS, is_photos_name

Answer = TypeVar("Answer")


class Store(NamedTuple):
    """A kind of store."""

    package: str
    """What fsspec needs for it."""
    extra: str
    """Of ours, that brings it."""


STORES = {"s3": Store("s3fs", "s3")}
"""By the scheme of their URLs. Who adds a row lets lists name such URLs, with --allow-urls."""

TRIES = 6
"""For a request, beside those that the store's own library makes."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two tries: doubled each time, and up to half of it left out by chance."""

FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, MissingExtraError, MemoryError)
"""Errors that the next try would meet too."""

BLOCK = 4 << 20
"""Bytes of a large object that are fetched at once."""

GLOB = "*?["


def is_stored(name: str) -> bool:
    """Whether a name is a URL of a store."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme in STORES


def listed(url: str) -> Iterator[tuple[str, int]]:
    """The URLs and bytes of all objects that a URL means: below a prefix, of a glob, or of this key; sorted.

    Args:
        url: `s3://bucket/prefix`, or with `*`, `?` and `[`.

    Raises:
        PhotoError: the store cannot be listed.
        MissingExtraError: fsspec or its part for this store is not installed.
    """
    scheme = url.partition("://")[0]
    system = _system(scheme)
    find = system.glob if any(letter in url for letter in GLOB) else system.find
    found = patiently(lambda: {key: int(about.get("size") or 0) for key, about in find(url, detail=True).items()}, url)
    return ((f"{scheme}://{key}", found[key]) for key in sorted(found))


def is_wanted(url: str) -> bool:
    """Whether an object's name is that of a photo, neither hidden nor a result of ours."""
    name = url.rpartition("/")[2]
    return is_photos_name(name) and not name.startswith(".") and not name.endswith(RESULTS)


def size_of(url: str) -> int:
    """Bytes of an object.

    Raises:
        PhotoError: there is none, or the store does not say.
    """
    system = _system(url.partition("://")[0])
    return int(patiently(lambda: system.info(url)["size"], url))


def content(url: str) -> bytes:
    """What an object holds.

    Raises:
        PhotoError: there is none, it cannot be read, or it has more than 256 MB.
    """
    system = _system(url.partition("://")[0])
    came: bytes = patiently(lambda: _bounded(system, url), url)
    if len(came) > MOST_BYTES:
        raise PhotoError(f"{url}: more than {MOST_BYTES >> 20} MB, the most that is fetched of a photo")
    return came


def opened(url: str) -> io.BufferedIOBase | io.RawIOBase:
    """An object as a file that can be read from anywhere; each read is tried again.

    Raises:
        PhotoError: there is none.
    """
    system = _system(url.partition("://")[0])
    return Patient(patiently(lambda: system.open(url, "rb", block_size=BLOCK, cache_type="readahead"), url), url)


def patiently(ask: Callable[[], Answer], url: str, pause: Callable[[float], None] = time.sleep) -> Answer:
    """What a request gives, which is made again if it fails.

    Args:
        ask: makes it.
        url: what it is about, for messages.
        pause: waits.

    Raises:
        PhotoError: it failed for good.
    """
    for number in range(TRIES):
        try:
            return ask()
        except FINAL as error:
            if isinstance(error, MissingExtraError):
                raise
            raise PhotoError(f"{url}: {_told(error)}") from error
        except Exception as error:  # the libraries below raise nearly anything
            if number == TRIES - 1:
                raise PhotoError(f"{url}: the store failed {TRIES} times ({_told(error)})") from error
            longest = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
            # a thousand workers should not come at once
            pause(longest * (1 - random.random() / 2))  # noqa: S311  # nosec B311
    raise AssertionError("unreachable")


class Patient(io.RawIOBase):
    """A file in a store, each read of which is tried again."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url, self._at = file, url, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere, from the beginning, from here, or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from here.

        Raises:
            PhotoError: the store failed for good.
        """

        def ask() -> bytes:
            self._file.seek(self._at)
            return bytes(self._file.read(size))

        came = patiently(ask, self._url)
        self._at += len(came)
        return came

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        super().close()


def _bounded(system: Any, url: str) -> bytes:
    came: bytes = system.cat_file(url, start=0, end=MOST_BYTES + 1)
    return came


def _system(scheme: str) -> Any:
    store = STORES[scheme]
    with needing(store.package, store.extra, f"reading {scheme}://"):
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False)


def _told(error: BaseException) -> str:
    return "there is no such object" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
