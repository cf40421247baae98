"""Reading files that users name. A path may be anything: a folder, a FIFO, a device, a loop of links, no name at all.

Nothing here waits: what is no regular file is refused before a byte is read. Nothing is parsed before its size is
known to be one that a parser takes. What the system says becomes the error that the caller names.
"""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from ..errors import OvdeployError

TEXT_LIMIT = 16 << 20
"""Bytes of a text or JSON file that is read whole. The largest manifests have some hundred kilobytes."""

ARRAYS_LIMIT = 512 << 20
"""Bytes of the arrays of one file. 65,535 words, each with an embedding of length 1,024, have half as many."""

KINDS = (
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a FIFO, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)
"""What else a path may name."""

MISSING = "there is no such file"
REFUSALS = (OSError, ValueError)
"""What the system raises about a path: ValueError where it holds NUL, or characters that no file's name can have."""


def reason(error: BaseException) -> str:
    """What an error says, in the words for a message."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "its name has characters that no file's name can have"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def why_no_file(path: str | Path) -> str:
    """Why a path names no file that could be read; empty if it does, links followed."""
    try:
        mode = os.stat(path).st_mode
    except REFUSALS as error:
        return reason(error)
    return _other_kind(mode)


def is_file(path: str | Path) -> bool:
    """Whether a path names a regular file; whatever the system says, this raises nothing."""
    return not why_no_file(path)


def is_folder(path: str | Path) -> bool:
    """Whether a path names a folder, likewise."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except REFUSALS:
        return False


def is_there(path: str | Path) -> bool:
    """Whether a path names anything, likewise."""
    try:
        os.stat(path)
    except REFUSALS:
        return False
    return True


def is_empty(path: str | Path) -> bool:
    """Whether a path names a file without a byte, likewise."""
    try:
        return os.stat(path).st_size == 0
    except REFUSALS:
        return False


def listed(folder: str | Path, error: type[OvdeployError]) -> list[Path]:
    """What lies in a folder, sorted.

    Args:
        folder: the folder.
        error: what is raised.

    Raises:
        OvdeployError: of the type given; the folder cannot be read.
    """
    try:
        return sorted(Path(folder).iterdir())
    except REFUSALS as refusal:
        raise error(f"{folder}: the folder cannot be read ({reason(refusal)})") from refusal


@contextmanager
def opened(path: str | Path, error: type[OvdeployError], what: str) -> Iterator[BinaryIO]:
    """A regular file, open for reading in binary. Opening never waits, as it would for a FIFO without a writer.

    Args:
        path: the file.
        error: what is raised.
        what: what the file should be, for the message.

    Raises:
        OvdeployError: of the type given; there is no such file, it is something else, or it cannot be opened. What
            goes wrong within the block while it is read is raised as it comes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except REFUSALS as refusal:
        raise error(f"{path}: {what} cannot be read ({reason(refusal)})") from refusal
    if other := _other_kind(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise error(f"{path}: {what} cannot be read ({other})")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_bytes(path: str | Path, error: type[OvdeployError], what: str, most: int = TEXT_LIMIT) -> bytes:
    """A file's content.

    Args:
        path: the file.
        error: what is raised.
        what: what the file should be, for the message.
        most: bytes that it may have.

    Raises:
        OvdeployError: of the type given; the file cannot be read, or is larger.
    """
    with opened(path, error, what) as file:
        try:
            content = file.read(most + 1)
        except OSError as refusal:
            raise error(f"{path}: {what} cannot be read ({reason(refusal)})") from refusal
    if len(content) > most:
        raise error(f"{path}: {what} is larger than {most} bytes, the most that is read; is it another file?")
    return content


def read_text(path: str | Path, error: type[OvdeployError], what: str, most: int = TEXT_LIMIT) -> str:
    """A file's text, UTF-8.

    Args and errors are those of `read_bytes`; what is no UTF-8 is an error too.
    """
    content = read_bytes(path, error, what, most)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as damage:
        raise error(f"{path}: {what} is not text in UTF-8 ({damage})") from damage


def read_arrays(file: BinaryIO, names: Iterable[str], most: int = ARRAYS_LIMIT) -> dict[str, np.ndarray]:
    """Arrays of a `.npz` file, nothing allocated that the file has no bytes for.

    Args:
        file: open for reading.
        names: the arrays wanted.
        most: bytes that they may have together; what they have when they are unpacked counts.

    Raises:
        ValueError, KeyError, OSError, zipfile.BadZipFile, …: it is none, or damaged; as NumPy and zipfile say.
    """
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.getinfo(f"{name}.npy") for name in names}
        if sum(member.file_size for member in members.values()) > most:
            raise ValueError(f"its arrays have more than {most} bytes")
        return {name: array_of(archive.read(member)) for name, member in members.items()}


def arrays_in(file: BinaryIO) -> tuple[str, ...]:
    """The names of the arrays of a `.npz` file that lie there as they are; the file is left where it was.

    Raises:
        ValueError, OSError, zipfile.BadZipFile, …: it is none, or damaged, as zipfile says; or its arrays are packed,
            so that nothing bounds what they unpack to.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its arrays are packed")
    file.seek(0)
    return tuple(member.filename.removesuffix(".npy") for member in members)


def array_of(content: bytes) -> np.ndarray:
    """The array of a `.npy` file that was read.

    Raises:
        ValueError, …: it is none, or not of the size that it says; as NumPy says.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array {list(shape)} of {dtype} does not have {len(content) - file.tell()} bytes")
    file.seek(0)
    found: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _other_kind(mode: int) -> str:
    """What a file of this mode is, if not a regular one; empty if it is."""
    if stat.S_ISREG(mode):
        return ""
    return next((told for asks, told in KINDS if asks(mode)), "it is no regular file")


def from_json(content: bytes) -> Any:
    """What `to_json` wrote, as plain values: names of files that are not UTF-8 come back as they were.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        import json

        return json.loads(content)  # knows lone surrogates


def to_json(value: Any, indent: int | None = None) -> bytes:
    """Plain values and structs as JSON.

    A file's name that is not UTF-8 keeps its bytes as Python has them, as lone surrogates: `photo\\\\udcff.png` for
    byte 255. `os.fsencode(json.loads(line)["image"])` gives the bytes back.
    """
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        import json

        separators = (",", ":" if indent is None else ": ")
        return json.dumps(msgspec.to_builtins(value), indent=indent, separators=separators).encode("ascii")
    return encoded if indent is None else msgspec.json.format(encoded, indent=indent)
