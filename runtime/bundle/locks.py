"""Locks: who writes a folder holds it alone, and who comes second is told who that is."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import BusyError


@contextmanager
def locked(target: Path, doing: str) -> Iterator[None]:
    """Hold a place while it is written.

    The system frees the lock when the process ends, however it ends. The file `.NAME.lock` beside the place tells who
    holds it; it is removed in the end, and one that a killed process left hinders nobody.

    Args:
        target: the folder or file that is written.
        doing: what is done, for whoever comes second: "export-engines".

    Raises:
        BusyError: another process, or another thread of this one, holds it.
    """
    path = target.parent / f".{target.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _taken(path, target)
    try:
        file.truncate(0)
        file.write(f"{doing}, process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%H:%M:%S')}")
        file.flush()
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()


def _taken(path: Path, target: Path) -> IO[str]:
    """The lock's file, held."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (it stays open while it is held)
        try:
            _hold(file)
        except OSError as error:
            file.seek(0)
            holder = file.read(300) or "another process"
            file.close()
            raise BusyError(f"{target} is being written by {holder}. Wait for it, or choose another folder") from error
        with contextlib.suppress(OSError):  # removed by its holder since it was opened: that one holds nothing any more
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def _hold(file: IO[str]) -> None:
    """Lock an open file, or fail at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
