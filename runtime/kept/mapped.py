"""Large content, mapped: in memory only where it is looked at, and yet out of everybody's reach.

A mapped file that somebody cuts kills the process (SIGBUS), and one that somebody overwrites changes what was checked.
So a copy without a name is mapped, which nobody else can open. Where the disk can share blocks it costs nothing, else
the time to copy. Where there is no room for it, the content is read into memory.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path

import numpy as np

from .form import HEAD_BYTES, Expected, Form, fill
from .trust import UnfitError

PIECE = 1 << 24
"""Bytes that are copied at a time, where the kernel does not do it."""


class Mapped:
    """The content of a kept file.

    Attributes:
        array: [bytes] uint8. Must be alive for as long as anything looks at its memory.
    """

    def __init__(self, memory: mmap.mmap, skipped: int, on_disk: bool) -> None:
        self._memory, self._on_disk = memory, on_disk
        self.array = np.frombuffer(memory, np.uint8)[skipped:]

    def release(self) -> None:
        """Tell the kernel that the pages need not stay in memory; they are read again where they are used."""
        if self._on_disk:
            with contextlib.suppress(OSError):
                self._memory.madvise(mmap.MADV_DONTNEED)


def read_mapped(form: Form, path: Path, key: str) -> Mapped | None:
    """The content of a file; None if there is none that fits.

    Args:
        form: of the file.
        path: the file.
        key: all that the content was made from.
    """

    def mapped(descriptor: int, expected: Expected) -> Mapped:
        found = _on_disk(path.parent, descriptor, expected.size) or _in_memory(descriptor, expected.size)
        expected.check(found.array.data)
        return found

    return form.opened(path, key, mapped)


def _on_disk(folder: Path, descriptor: int, size: int) -> Mapped | None:
    """A copy without a name in a folder; None if there can be none."""
    whole = HEAD_BYTES + size  # the head too: disks share whole blocks only
    try:
        copy = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        _copy(descriptor, copy, whole)
        return Mapped(mmap.mmap(copy, whole, access=mmap.ACCESS_COPY), HEAD_BYTES, on_disk=True)
    except (OSError, ValueError):  # ValueError: the copy is shorter than what is to be mapped
        return None
    finally:
        os.close(copy)


def _copy(source: int, copy: int, whole: int) -> None:
    """Copy a file from its beginning: by the kernel, or by reading and writing."""
    done = 0
    with contextlib.suppress(OSError):  # not between these disks, not by this kernel
        while done < whole and (count := os.copy_file_range(source, copy, whole - done, done, done)):
            done += count
    while done < whole and (piece := os.pread(source, min(PIECE, whole - done), done)):
        done += os.pwrite(copy, piece, done)


def _in_memory(descriptor: int, size: int) -> Mapped:
    if not size:
        raise UnfitError("it is empty")
    memory = mmap.mmap(-1, size)
    os.lseek(descriptor, HEAD_BYTES, os.SEEK_SET)
    fill(descriptor, memoryview(memory))
    return Mapped(memory, 0, on_disk=False)
