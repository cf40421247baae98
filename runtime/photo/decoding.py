"""Decoding photos: from files, their content, and PIL images, upright and as 8-bit RGB."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..boundary.reading import is_empty, is_folder, is_there, listed, opened, why_no_file
from ..errors import PhotoError
from ..geometry.limits import LONGEST_SIDE
from .arrays import over_white
from .depth import to_8_bits

PLUGINS = {
    "JPEG": "JpegImagePlugin", "PNG": "PngImagePlugin", "WEBP": "WebPImagePlugin", "AVIF": "AvifImagePlugin",
    "TIFF": "TiffImagePlugin", "BMP": "BmpImagePlugin", "GIF": "GifImagePlugin", "PPM": "PpmImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
}  # fmt: skip
"""Formats that are opened, and Pillow's modules for them. It knows more, among them formats that it hands to other
programs; importing all of them takes longer than most photos."""

FORMATS = tuple(PLUGINS)

SUFFIXES = (
    *(".apng", ".avif", ".avifs", ".bmp", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg"),
    *(".jpf", ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""Suffixes of those formats, looked for in folders in letters of any case."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Turns and flips to upright, by EXIF orientation. (Pillow's helper writes EXIF anew, and fails on malformed tags.)"""

_pillow_limit = threading.Lock()


def read_file(path: str | Path, max_pixels: int, look: Callable[[BinaryIO], None] | None = None) -> np.ndarray:
    """The photo of a file.

    Args:
        path: the file.
        max_pixels: a photo with more pixels is refused.
        look: is given the open file first, to read it as it likes.

    Raises:
        PhotoError: missing, empty, truncated, not an image, of a kind without a fixed range, or too large.
    """
    if is_folder(path):
        listed(path, PhotoError)  # one that cannot be read is told as such
        raise PhotoError(f"{path}: no photos in this folder (looked for {', '.join(SUFFIXES)})")
    if not is_there(path):
        raise PhotoError(f"{path}: no such photo ({why_no_file(path)})")
    with _damage_told(str(path), lambda: is_empty(path)), opened(path, PhotoError, "the photo") as file:
        if look is not None:
            look(file)
            file.seek(0)
        with _opened(file) as image:
            refuse_huge(image.size[::-1], max_pixels, str(path))
            return _upright_rgb(image, str(path), lambda: _opened(Path(path)))


def decoded(content: bytes, what: str, max_pixels: int) -> np.ndarray:
    """The photo of a file's content.

    Args:
        content: all of it.
        what: its name, for messages.
        max_pixels: a photo with more pixels is refused.

    Raises:
        PhotoError: missing, empty, truncated, not an image, of a kind without a fixed range, or too large.
    """
    with _damage_told(what, lambda: not content), _opened(io.BytesIO(content)) as image:
        refuse_huge(image.size[::-1], max_pixels, what)
        return _upright_rgb(image, what, lambda: _opened(io.BytesIO(content)))


def of_image(image: Image.Image, max_pixels: int) -> np.ndarray:
    """The photo of a PIL image. Of 16-bit colours Pillow itself keeps the upper bytes when it decodes them.

    Args:
        image: decoded now, if it is not yet.
        max_pixels: a photo with more pixels is refused.

    Raises:
        PhotoError: as `read_file`.
    """
    with _damage_told("the PIL image", lambda: False):
        if not image.width or not image.height:
            raise PhotoError(f"the photo has no pixels: the PIL image is {image.width}×{image.height}")
        refuse_huge(image.size[::-1], max_pixels, "the photo")
        image.load()
        return _upright_rgb(image, "the PIL image", image.copy)


@contextmanager
def _damage_told(what: str, is_void: Callable[[], bool]) -> Iterator[None]:
    """What goes wrong within is told as damage of a photo."""
    try:
        yield
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        if is_void():
            raise PhotoError(f"{what}: the file is empty") from error
        raise PhotoError(f"{what}: not an image in a format that is read ({', '.join(FORMATS)})") from error
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise PhotoError(f"{what}: the photo is damaged or truncated ({error})") from error


def refuse_huge(hw: tuple[int, ...], max_pixels: int, what: str) -> None:
    """Refuse a photo that is too large, before it is decoded or copied.

    Raises:
        PhotoError: it has more pixels, or a side that is too long.
    """
    if hw[0] * hw[1] > max_pixels:
        raise PhotoError(
            f"{what}: {hw[1]}×{hw[0]} are {hw[0] * hw[1] / 1e6:.3g} megapixels, the limit is {max_pixels / 1e6:.3g}. "
            f"Scale the photo down, or raise the parameter max_pixels."
        )
    if max(hw) > LONGEST_SIDE:
        raise PhotoError(f"{what}: {hw[1]}×{hw[0]} has a side above {LONGEST_SIDE} pixels; cut it into pieces")


def _opened(file: BinaryIO | Path) -> Image.Image:
    """Open without Pillow's own limit on pixels, a global of the process: `max_pixels` takes its place."""
    with _pillow_limit:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=readable())
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


@cache
def readable() -> list[str]:
    """The formats that this Pillow opens, their modules imported: at the first photo, unless somebody asks before."""
    for module in PLUGINS.values():
        with suppress(ImportError):  # older Pillows lack AVIF
            import_module(f"PIL.{module}")
    return [name for name in FORMATS if name in Image.OPEN]


def _upright_rgb(image: Image.Image, what: str, again: Callable[[], Image.Image]) -> np.ndarray:
    shallow = to_8_bits(image, what, again)  # first: asking for EXIF decodes a PNG
    image.load()  # Pillow turns a TIFF upright when it decodes it, and says then that it stands
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    image = shallow
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return over_white(image)
    return np.array(image.convert("RGB"))
