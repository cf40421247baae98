"""The form of a kept file: a head that says what it is, then its content.

    ovdeploy kept 1 KIND VERSION KEY BYTES DIGEST

KIND and VERSION say what the content is and how it is written down, KEY is a hash of what it was made from, BYTES its
length, and DIGEST the SHA-256 of all before it and of the content. The head is filled up with spaces to 256 bytes, the
last of which ends the line. A head is never parsed: it is compared with the one that there must be.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from ..boundary.reading import reason
from ..files import atomic_path
from .trust import UnfitError, UntrustedError, check_folder, open_kept, tell_once

MAGIC = b"ovdeploy kept 1 "
HEAD_BYTES = 256
DIGEST_BYTES = 64
"""Of its hexadecimal letters."""

Buffer: TypeAlias = bytes | bytearray | memoryview
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Form:
    """What a kind of kept file holds, and how it is written down.

    Attributes:
        kind: in one word.
        version: goes up with every change of how the content is written down; files of others are made anew.
        most: bytes of content. Longer files are not read, and not written.
    """

    kind: str
    version: int
    most: int

    def read(self, path: Path, key: str) -> bytearray | None:
        """The content of a file; None if there is none that fits, after a warning if there is another.

        Args:
            path: the file.
            key: all that the content was made from.
        """
        return self.opened(path, key, _content)

    def opened(self, path: Path, key: str, use: Callable[[int, Expected], Kind]) -> Kind | None:
        """What `use` makes of a file, once its head was found to be that of this key; None if it does not fit.

        Args:
            path: the file.
            key: all that the content was made from.
            use: gets a descriptor that stands behind the head, and what the content must be; raises `UnfitError`.
        """
        try:
            descriptor = open_kept(path)
            if descriptor is None:
                return None
            try:
                return use(descriptor, self._expected(descriptor, key))
            finally:
                os.close(descriptor)
        except UntrustedError as error:
            tell_once(f"what is kept in {path.parent} is not used, and made anew: {error}")
        except (UnfitError, OSError) as error:
            tell_once(f"{path} is not used, and made anew: {reason(error)}")
        return None

    def write(self, path: Path, key: str, *content: Buffer, quiet: bool = False) -> bool:
        """Keep content, whole or not at all; where that is not possible it costs time, not the result.

        Args:
            path: the file.
            key: all that the content was made from.
            content: in pieces.
            quiet: whether there is no warning if it cannot be kept, because there is another place.

        Returns:
            Whether it is kept.
        """
        size = sum(memoryview(part).nbytes for part in content)
        if size > self.most:
            return False
        start = self._start(key, size)
        head = start + _digest(start, content).encode()
        try:
            with atomic_path(path, 0o664) as temporary:
                check_folder(path.parent)
                with open(temporary, "wb") as file:
                    file.writelines([head.ljust(HEAD_BYTES - 1) + b"\n", *content])
        except (OSError, UnfitError) as error:
            if not quiet:
                tell_once(f"nothing can be kept in {path.parent}, so it is made anew each time: {reason(error)}")
            return False
        return True

    def _start(self, key: str, size: int) -> bytes:
        """The head as far as its digest."""
        return MAGIC + f"{self.kind} {self.version} {hashlib.sha256(key.encode()).hexdigest()} {size:020} ".encode()

    def _expected(self, descriptor: int, key: str) -> Expected:
        size = os.fstat(descriptor).st_size - HEAD_BYTES
        head = os.read(descriptor, HEAD_BYTES)
        start = self._start(key, size)
        if not head.startswith(MAGIC):
            raise UnfitError("it is of another form than this version's, or damaged")
        if not head.startswith(start) or size > self.most:
            raise UnfitError("it is not what is kept under this name: older, cut short, exchanged or damaged")
        digest = head[len(start) : len(start) + DIGEST_BYTES]
        if head != (start + digest).ljust(HEAD_BYTES - 1) + b"\n":
            raise UnfitError("its head is damaged")
        return Expected(start, size, digest.decode("ascii", "replace"))


@dataclass(frozen=True)
class Expected:
    """What the content of a file must be, by its head."""

    start: bytes
    size: int
    digest: str

    def check(self, content: Buffer) -> None:
        """Compare content with the head.

        Raises:
            UnfitError: it is not that.
        """
        if _digest(self.start, [content]) != self.digest:
            raise UnfitError("it is damaged: its content does not have the digest that it says")


def once(form: Form, path: Path, key: str, kind: type[Kind], make: Callable[[], Kind]) -> Kind:
    """A value that msgspec can write as JSON: what was kept, or what `make` gives now.

    Args:
        form: of the file.
        path: the file.
        key: all that the value depends on.
        kind: the value's type.
        make: makes it.
    """
    content = form.read(path, key)
    if content is not None:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            tell_once(f"{path} is not used, and made anew: {error}")
    made = make()
    form.write(path, key, msgspec.json.encode(made))
    return made


def fill(descriptor: int, room: Buffer) -> None:
    """Read as many bytes as there is room for.

    Raises:
        UnfitError: there are fewer.
    """
    left = memoryview(room)
    while left:
        count = os.readv(descriptor, [left])
        if not count:
            raise UnfitError("it was cut short while it was read")
        left = left[count:]


def _content(descriptor: int, expected: Expected) -> bytearray:
    content = bytearray(expected.size)
    fill(descriptor, content)
    expected.check(content)
    return content


def _digest(start: bytes, content: Iterable[Buffer]) -> str:
    digest = hashlib.sha256(start)
    for part in content:
        digest.update(part)
    return digest.hexdigest()
