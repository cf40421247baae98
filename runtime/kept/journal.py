"""Files of `Lines` that several runs append to, one after the other or side by side."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

from ..boundary.reading import reason
from ..errors import BusyError, OvdeployError
from ..files import make_folder

PATIENCE, PAUSE = 2.0, 0.02
"""Seconds that a process waits for one that is just beginning a file, and between two looks."""


def appended(path: Path, error: type[OvdeployError]) -> BinaryIO:
    """A file, opened for reading and appending, made if it is not there; never waiting for somebody at a pipe's end.

    Args:
        path: the file.
        error: what is raised.

    Raises:
        OvdeployError: of the type given; it is no file that can be written.
        FileError: the system refuses its folder.
    """
    wanted = f"{path} should be a regular file that can be read and written; remove it, or give another --output"
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as refusal:
        raise error(f"{wanted} ({reason(refusal)})") from refusal
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise error(wanted)
    return open(descriptor, "ab", buffering=0)


def begun(file: BinaryIO, head: bytes, busy: str) -> None:
    """Let a file begin with a line, and say that this process appends to it, until it is closed.

    A file that begins with another line is emptied, unless another process appends to it. Those that want the same line
    append side by side.

    Args:
        file: as `appended` gives it.
        head: the line, with its end.
        busy: the message if another process appends under another line.

    Raises:
        BusyError: one does.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        if _locked(file, fcntl.LOCK_EX) and not _starts(file, head):
            file.truncate(0)
            append(file, head)
        if _locked(file, fcntl.LOCK_SH) and _starts(file, head):
            break
        fcntl.flock(file, fcntl.LOCK_UN)  # who is just beginning it needs it alone
        if time.monotonic() > deadline:
            raise BusyError(busy)
        time.sleep(PAUSE)
    size = os.fstat(file.fileno()).st_size
    if os.pread(file.fileno(), 1, size - 1) != b"\n":  # a killed run left a line without its end
        append(file, b"\n")


def append(file: BinaryIO, line: bytes) -> None:
    """Write a line at a file's end, in one piece.

    Raises:
        OSError: there is no room for it.
    """
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _starts(file: BinaryIO, head: bytes) -> bool:
    return os.pread(file.fileno(), len(head), 0) == head


def _locked(file: BinaryIO, how: int) -> bool:
    """Whether nobody else stands in the way. Where the disk knows no locks, nobody is known to."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True
