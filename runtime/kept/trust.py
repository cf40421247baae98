"""Opening what is kept: only regular files that nobody else could have written, and never waiting for one."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from ..boundary.reading import reason
from ..reporting import logger

log = logger("kept")

MOST_TOLD = 1000
"""Sentences that are remembered, so that each is told once."""

_told: set[str] = set()
_telling = threading.Lock()


class UnfitError(Exception):
    """What lies there is not what was kept. Stays among the readers of kept files, who make it anew."""


class UntrustedError(UnfitError):
    """Others could have written it. It will be so of all files of a folder, so it is told of the folder."""


def open_kept(path: Path) -> int | None:
    """A descriptor of a kept file, to be read; None if there is none.

    Raises:
        UnfitError: it is no regular file, or cannot be opened.
        UntrustedError: others can write to it.
    """
    try:
        check_folder(path.parent)
        _check_kind(os.stat(path))  # a device may act upon being opened
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise UnfitError(f"it cannot be opened ({reason(error)})") from error
    try:
        found = os.fstat(descriptor)  # what was opened, whatever lies there by now
        _check_kind(found)
        _check_owner(found)
    except UnfitError:
        os.close(descriptor)
        raise
    return descriptor


def check_folder(folder: Path) -> None:
    """Refuse a folder in which anybody may exchange files, unless it is ours or the system's.

    Raises:
        UntrustedError: it is such a folder.
        OSError: it is not there, or cannot be looked at.
    """
    found = os.stat(folder)
    if found.st_mode & stat.S_IWOTH and found.st_uid not in (os.geteuid(), 0):
        raise UntrustedError(f"anybody may write there, and it belongs to {_owner(found)}")


def tell_once(sentence: str) -> None:
    """Warn in the log, unless this was said before."""
    with _telling:
        if sentence in _told:
            return
        if len(_told) >= MOST_TOLD:
            _told.clear()
        _told.add(sentence)
    log.warning("%s", sentence)


def _check_kind(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnfitError("it is no regular file")


def _check_owner(found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise UntrustedError(f"there are files of {_owner(found)}")
    if found.st_mode & stat.S_IWOTH:
        raise UntrustedError("there are files that anybody may write to")


def _owner(found: os.stat_result) -> str:
    return f"user {found.st_uid}, who is neither you nor root"
