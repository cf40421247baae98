"""Locks: who writes a folder holds it alone, and who comes second is told who that is."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import BusyError, FileError
from ..files import make_folder, room_for, writing


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
        FileError: no lock can be written there, or within, the disk fills up.
    """
    path = _place(target)
    file = _taken(path, target)
    try:
        file.seek(0)
        file.truncate()
        file.write(f"{doing}, process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%H:%M:%S')}")
        file.flush()
        with room_for(target):
            yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()


def _place(target: Path) -> Path:
    """Where the lock lies: beside the target, or in it, for a folder whose parent others own."""
    make_folder(target.parent)
    if target.is_dir() and not os.access(target.parent, os.W_OK):
        return target / ".lock"
    return target.parent / f".{target.name}.lock"


def _opened(path: Path) -> IO[str]:
    """The lock's file. Nothing is followed and nothing waited for: in a shared folder it may be somebody's trap.

    Raises:
        FileError: the system refuses it, or something else lies there.
    """
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):  # Windows has none of them
        flags |= getattr(os, name, 0)
    with writing(path):
        descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"{path} should be a lock's file, and is no regular one; remove it")
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _taken(path: Path, target: Path) -> IO[str]:
    """The lock's file, held."""
    while True:
        file = _opened(path)
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
