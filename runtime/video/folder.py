"""Folders of photos as clips."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..boundary.reading import listed
from ..errors import PhotoError, VideoError
from ..photo.decoding import read_file
from ..photo.sources import RESULTS, is_photos_name
from .clip import Clip, DamageError
from .frame import Choice, Frame

DIGITS = re.compile(r"([0-9]+)")


def natural_order(name: str) -> tuple[list[str], str]:
    """A key that puts 2.png before 10.png; of names that differ in zeros before a number alone, text decides."""
    parts = DIGITS.split(name)
    return [_by_value(part) if number % 2 else part for number, part in enumerate(parts)], name


def _by_value(digits: str) -> str:
    """Text that stands in the order of numbers: their length without zeros before them goes first."""
    value = digits.lstrip("0")
    return f"{len(value):08}{value}"


class FolderClip(Clip):
    """Photos of a folder in the order of their names, numbers within them by their value, as the frames of a clip."""

    def __init__(self, path: Path, choice: Choice, max_pixels: int) -> None:
        super().__init__(path, choice, max_pixels)
        names = (entry.name for entry in listed(path, VideoError))
        photos = (n for n in names if is_photos_name(n) and not n.startswith(".") and not n.endswith(RESULTS))
        self.names = sorted(photos, key=natural_order)
        if not self.names:
            raise VideoError(f"{path}: no photos in this folder, which should be a clip's frames")
        self.count = len(self.names)

    def _frames(self) -> Iterator[Frame]:
        for index, name in enumerate(self.names):
            try:
                yield Frame(index, None, self._image(index, name))
            except PhotoError as error:
                raise DamageError(str(error)) from error

    def _image(self, index: int, name: str) -> np.ndarray:
        """The photo; of one that is not wanted an empty picture of the right size."""
        if self.hw is not None and not self.choice.wants(index):
            return np.broadcast_to(np.uint8(0), (*self.hw, 3))
        return read_file(self.path / name, self.max_pixels)
