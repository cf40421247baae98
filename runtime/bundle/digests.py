"""Digests of a bundle's files: hashed by threads of their own while engines are opened, each file once.

Only who hashes changes, not what is compared: a file that changed since it was hashed is hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import FileError
from ..files import sha256_of

WORKERS = 2
"""Threads that hash ahead. One hashes some 1.5 GB/s; an engine opens in about the time that two files take."""


class _State(NamedTuple):
    """What tells one content of a file from another: device and inode, size, times of change in ns."""

    place: tuple[int, int]
    size: int
    times: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> _State:
        status = os.stat(path)
        return cls((status.st_dev, status.st_ino), status.st_size, (status.st_mtime_ns, status.st_ctime_ns))


class _Ahead(NamedTuple):
    state: _State
    digest: Future[str]


class Digests:
    """SHA-256 of files. Threads may share it."""

    def __init__(self) -> None:
        self._ahead: dict[Path, _Ahead] = {}

    @contextmanager
    def ahead(self, paths: Iterable[Path]) -> Iterator[None]:
        """Within, files are hashed in the background, in this order; what cannot be read is left to `of`."""
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="ovdeploy-digests")
        try:
            for path in dict.fromkeys(paths):
                if path.is_file():
                    self._ahead[path] = _Ahead(_State.of(path), pool.submit(sha256_of, path))
            yield
        finally:
            self._ahead = {}
            pool.shutdown(cancel_futures=True)

    def of(self, path: Path) -> str:
        """Hexadecimal SHA-256 of a file's content.

        Raises:
            FileError: it cannot be read.
        """
        known = self._ahead.get(path)
        if known is None:
            return sha256_of(path)
        try:
            digest = known.digest.result()
        except (FileError, CancelledError):  # cancelled: another thread is done with what it opened
            return sha256_of(path)
        return digest if _State.of(path) == known.state else sha256_of(path)
