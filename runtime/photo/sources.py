"""What people name when they mean photos: files, folders, globs, lists, URLs.

In folders our own results are passed over, so that photos and results may lie together, and so are hidden files. What
names nothing stays, so that reading it tells why.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..boundary.reading import is_folder, is_there, opened
from ..errors import ParameterError, PhotoError
from .fetching import file_name_of, is_url
from .listing import Source
from .reading import SUFFIXES

RESULTS = (".mask.png", ".overlay.png", ".panoptic.png")
"""How names of our own pictures end: no walk takes them for photos."""

STDIN, LIST = "-", "@"
"""What stands for a list on standard input, and before the name of a list."""

CHUNK, LONGEST_NAME = 1 << 16, 1 << 16
"""Bytes of a list that are read at once, and that a name in it may have."""


def expand(images: Iterable[str], *, recursive: bool = True) -> Iterator[Path]:
    """The photos that are meant, as paths.

    Args:
        images: as `sources` takes them.
        recursive: whether folders are searched with all that lies below them.
    """
    return (Path(source.name) for source in sources(images, recursive=recursive))


def sources(images: Iterable[str], *, recursive: bool = True, stdin: BinaryIO | None = None) -> Iterator[Source]:
    """The photos that are meant, one by one.

    Args:
        images: files, folders, globs, URLs, `@FILE` for a list, `-` for a list on standard input.
        recursive: whether folders are searched with all that lies below them.
        stdin: standard input; None means this process's.

    Raises:
        PhotoError: a list cannot be read.
    """
    for image in images:
        if image == STDIN:
            yield from _of_lines(_names_in(stdin or sys.stdin.buffer, "standard input"), recursive)
        elif is_url(image):
            yield Source(image, file_name_of(image))
        elif is_folder(image):
            yield from _of_folder(image, recursive)
        elif is_there(image):
            yield _of_file(image)
        elif image.startswith(LIST):
            yield from _of_list(image.removeprefix(LIST), recursive)
        else:
            yield from _of_glob(image, recursive)


def _of_file(name: str) -> Source:
    return Source(name, os.path.basename(name.rstrip("/")) or name)


def _of_folder(folder: str, recursive: bool) -> Iterator[Source]:
    """The photos of a folder, placed as they lie in it; the folder itself if there are none."""
    found = False
    for place in _walked(folder, recursive):
        found = True
        yield Source(os.path.join(folder, place), place)
    if not found:
        yield Source(folder, os.path.basename(os.path.abspath(folder)) or "photos")


def _walked(top: str, recursive: bool) -> Iterator[str]:
    """Paths of photos relative to a folder: of each folder first its files, then its folders, both sorted.

    Links to folders are followed, and no folder is entered twice. One that cannot be read stands for its photos.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        path = os.path.join(top, below)
        try:
            state = os.stat(path)
            if (state.st_dev, state.st_ino) in entered:
                continue
            entered.add((state.st_dev, state.st_ino))
            files, folders = _entries(path, recursive)
        except OSError:
            if below:
                yield below  # reading it as a photo tells why
            continue
        for name in files:
            yield os.path.join(below, name)
        waiting.extend(os.path.join(below, name) for name in reversed(folders))


def _entries(folder: str, recursive: bool) -> tuple[list[str], list[str]]:
    """Names of a folder's photos, and of its folders."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if _leads_to_folder(entry):
                folders.extend([name] if recursive else [])
            elif is_photos_name(name) and not name.endswith(RESULTS):
                files.append(name)
    return sorted(files), sorted(folders)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a loop of links is none, and costs nothing but itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_photos_name(name: str) -> bool:
    """Whether a name has a suffix of photos, in letters of any case."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _of_glob(pattern: str, recursive: bool) -> Iterator[Source]:
    """What a pattern matches, folders with what lies in them; the pattern itself if it matches nothing."""
    try:
        matches = sorted(glob.glob(pattern, recursive=True))
    except (OSError, ValueError, re.error):  # it is no pattern either
        matches = []
    for name in matches:
        if not is_folder(name):
            yield _of_file(name)
        elif "**" not in pattern:  # else what lies there is matched by itself
            yield from _of_folder(name, recursive)
    if not matches:
        yield _of_file(pattern)


def _of_list(path: str, recursive: bool) -> Iterator[Source]:
    if is_photos_name(path):
        raise PhotoError(f"{LIST}{path} would be a list of photos called {path}; for the photo leave the {LIST} away")
    with opened(path, PhotoError, "the list of photos") as file:
        yield from _of_lines(_names_in(file, path), recursive)


def _of_lines(names: Iterable[str], recursive: bool) -> Iterator[Source]:
    """Sources of a list's lines, which are taken as they are: no globs, no further lists."""
    for name in names:
        if is_url(name):
            yield Source(name, file_name_of(name))
        elif not is_photos_name(name) and is_folder(name):  # the disk is not asked about every photo of a long list
            yield from _of_folder(name, recursive)
        else:
            yield _of_file(name)


def _names_in(file: BinaryIO, what: str) -> Iterator[str]:
    """The names in a list: one a line, or ended by zero bytes, as `find -print0` writes them.

    Raises:
        PhotoError: a name is too long to be one.
    """
    held, zero = b"", None
    while more := file.read(CHUNK):
        zero = b"\0" in more if zero is None else zero
        *whole, held = (held + more).split(b"\0" if zero else b"\n")
        yield from (_name(line, what, zero=zero) for line in whole if line.rstrip(b"\r"))
        _name(held, what, zero=zero)
    if held.rstrip(b"\r"):
        yield _name(held, what, zero=bool(zero))


def _name(line: bytes, what: str, *, zero: bool) -> str:
    if len(line) > LONGEST_NAME:
        raise PhotoError(
            f"{what}: a line of {len(line)} bytes or more is no photo's name; a list of photos has one name a line"
        )
    return os.fsdecode(line if zero else line.rstrip(b"\r"))


def below(given: Iterable[Source], root: str) -> Iterator[Source]:
    """Sources placed as they lie below a folder.

    Args:
        given: sources; URLs keep their places.
        root: the folder.

    Raises:
        ParameterError: one does not lie below it.
    """
    start = os.path.join(os.path.abspath(root), "")
    for source in given:
        path = os.path.abspath(source.name)
        if is_url(source.name):
            yield source
        elif path.startswith(start):
            yield Source(source.name, path.removeprefix(start))
        else:
            raise ParameterError(
                f"{source.name} does not lie below {root}; leave --relative-to away, or name a folder "
                f"that all photos lie below"
            )
