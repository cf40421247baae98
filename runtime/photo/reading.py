"""Reading photos, upright and as 8-bit RGB."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image

from ..boundary.arguments import public
from ..errors import PhotoError, shown
from ..geometry.sizes import HW
from .arrays import RGB, WANTED, SupportsArray, SupportsDLPack, array_hw, as_array, check_color, rgb_of
from .decoding import FORMATS as FORMATS
from .decoding import SUFFIXES as SUFFIXES
from .decoding import decoded, of_image, read_file, refuse_huge

MOST_PIXELS = 100_000_000
"""Of a photo, unless the parameter `max_pixels` says otherwise."""


class Readable(ABC):
    """A photo that is read when its turn comes, by one of several threads."""

    name: str | None = None
    """Where it lies: a path or a URL."""

    @abstractmethod
    def read(self, max_pixels: int) -> np.ndarray:
        """The photo, [H, W, 3] uint8 RGB, nobody else's.

        Args:
            max_pixels: a photo with more pixels is refused.

        Raises:
            PhotoError: it cannot be read.
        """


@dataclass(frozen=True, eq=False)
class Taken(Readable):
    """A photo that was an array, copied: nobody else can change it."""

    pixels: np.ndarray
    """[H, W, 3] uint8 RGB."""

    def read(self, max_pixels: int) -> np.ndarray:
        """The pixels themselves."""
        return self.pixels


@dataclass(frozen=True, eq=False)
class _Ordered(Readable):
    """A photo, and the order of its colours if it is an array."""

    photo: Photo
    color: str

    def read(self, max_pixels: int) -> np.ndarray:
        """The photo as RGB."""
        return as_photo(self.photo, max_pixels, self.color)


Encoded: TypeAlias = bytes | bytearray | memoryview | io.BytesIO
"""A file's content."""

Photo: TypeAlias = str | Path | Encoded | Image.Image | np.ndarray | SupportsArray | SupportsDLPack | Readable
"""All that is taken for a photo: `load_photo` says how."""


@public("path", "color")
def load_photo(path: Photo, max_pixels: int = MOST_PIXELS, *, color: str = RGB) -> np.ndarray:
    """Read a photo upright, as 8-bit RGB.

    Grey and palette images become RGB, transparency is laid over white, the EXIF orientation is applied, and deeper
    values are scaled to 8 bits (`photo.depth`).

    Args:
        path: a path; or a file's content, as bytes or BytesIO (from its beginning); or a PIL image, turned upright as a
            file is; or an array of uint8, [H, W, 3], [H, W, 4] with transparency, [H, W] or [H, W, 1] grey, of NumPy
            or what NumPy can look at, such as a tensor of PyTorch. Arrays are copied.
        max_pixels: a photo with more pixels is refused.
        color: "rgb" or "bgr", the order of an array's colours. OpenCV's are "bgr". Files and PIL images say it
            themselves.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        PhotoError: missing, empty, truncated, not an image, of a kind without a fixed range, or too large.
        ParameterError: there is no such order of colours.
    """
    return as_photo(path, max_pixels, color)


def as_photo(photo: Photo, max_pixels: int = MOST_PIXELS, color: str = RGB) -> np.ndarray:
    """The same, for `photo` too that was taken before: that is not copied again.

    Returns:
        [H, W, 3] uint8 RGB, contiguous, and nobody else's.

    Raises:
        PhotoError, ParameterError: as `load_photo`.
    """
    check_color(color)
    if isinstance(photo, Readable):
        return photo.read(max_pixels)
    if isinstance(photo, str | os.PathLike):
        return read_file(_path_of(photo), max_pixels)
    if isinstance(photo, Encoded):
        return decoded(photo.getvalue() if isinstance(photo, io.BytesIO) else bytes(photo), "the photo", max_pixels)
    if isinstance(photo, Image.Image):
        return of_image(photo, max_pixels)
    array = as_array(photo)
    refuse_huge(array_hw(array), max_pixels, "the photo")
    return rgb_of(array, color)


def origin_of(photo: Photo | PhotoError) -> str | None:
    """Where a photo lies; None of one that lies nowhere."""
    named = photo.name if isinstance(photo, Readable) else photo
    return str(named) if isinstance(named, str | Path) else None


def in_color(photo: Photo, color: str) -> Photo:
    """A photo that knows how its colours are ordered, if it is an array.

    Raises:
        ParameterError: there is no such order.
    """
    check_color(color)
    return photo if color == RGB else _Ordered(photo, color)


def take(photo: Photo, max_pixels: int = MOST_PIXELS, color: str = RGB) -> str | Path | Readable | PhotoError:
    """A photo as it is now, to be segmented later: arrays, bytes and PIL images are read, paths are not yet.

    Args:
        photo: as `load_photo` takes it.
        max_pixels: a photo with more pixels is not copied.
        color: the order of an array's colours.

    Returns:
        What `as_photo` takes, or the error in the place of what is no photo.
    """
    if isinstance(photo, str | Path | Readable):
        return photo
    try:
        return Taken(as_photo(photo, max_pixels, color))
    except PhotoError as error:
        return error


def _path_of(photo: str | os.PathLike[str]) -> str | Path:
    if isinstance(photo, str | Path):
        return photo
    try:
        return Path(os.fspath(photo))
    except Exception as error:  # an object's own methods may raise anything
        raise PhotoError(f"expected {WANTED}, got a path that does not say what it is ({shown(photo)})") from error


def demo_photo() -> Path:
    """The photo that comes with the package: a cup of coffee, [400, 600, 3]."""
    return Path(str(resources.files("ovdeploy.engines"))) / "coffee.jpg"


def resize(image: np.ndarray, hw: HW) -> np.ndarray:
    """OpenCV's bilinear resize to (height, width); the array itself if it has that size."""
    if image.shape[:2] == hw:
        return image
    resized: np.ndarray = cv2.resize(image, hw[::-1], interpolation=cv2.INTER_LINEAR)
    return resized
