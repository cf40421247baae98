"""Reading photos, upright and as 8-bit RGB."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..boundary.arguments import public
from ..boundary.reading import is_empty, is_folder, is_there, opened, why_no_file
from ..errors import PhotoError
from ..geometry.limits import LONGEST_SIDE
from ..geometry.sizes import HW
from .depth import to_8_bits

PLUGINS = {
    "JPEG": "JpegImagePlugin", "PNG": "PngImagePlugin", "WEBP": "WebPImagePlugin", "AVIF": "AvifImagePlugin",
    "TIFF": "TiffImagePlugin", "BMP": "BmpImagePlugin", "GIF": "GifImagePlugin", "PPM": "PpmImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
}  # fmt: skip
"""Formats that are opened, and Pillow's modules for them. It knows more, among them formats that it hands to other
programs; importing all of them takes longer than most photos."""

FORMATS = tuple(PLUGINS)

SUFFIXES = (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes looked for in folders."""

MOST_PIXELS = 100_000_000
"""Of a photo, unless the parameter `max_pixels` says otherwise."""

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


@dataclass(frozen=True, eq=False)
class Taken:
    """A photo that was an array, copied: nobody else can change it."""

    pixels: np.ndarray
    """[H, W, 3] uint8 RGB."""


@public()
def load_photo(path: str | Path, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """Read a photo upright, as 8-bit RGB.

    Grey and palette images become RGB, transparency is laid over white, the EXIF orientation is applied, and deeper
    values are scaled to 8 bits (`photo.depth`).

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        PhotoError: missing, empty, truncated, not an image, of a kind without a fixed range, or too large.
    """
    if is_folder(path):
        raise PhotoError(f"{path}: no photos in this folder (looked for {', '.join(SUFFIXES)})")
    if not is_there(path):
        raise PhotoError(f"{path}: no such photo ({why_no_file(path)})")
    try:
        with opened(path, PhotoError, "the photo") as file, _opened(file) as image:
            _refuse_huge(image.size[::-1], max_pixels, str(path))
            return _upright_rgb(image, Path(path))
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        if is_empty(path):
            raise PhotoError(f"{path}: the file is empty") from error
        raise PhotoError(f"{path}: not an image in a format that is read ({', '.join(FORMATS)})") from error
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise PhotoError(f"{path}: the photo is damaged or truncated ({error})") from error


def demo_photo() -> Path:
    """The photo that comes with the package: a cup of coffee, [400, 600, 3]."""
    return Path(str(resources.files("ovdeploy.engines"))) / "coffee.jpg"


def as_photo(photo: str | Path | np.ndarray | Taken, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """A photo from a path, or an array checked to be one.

    Args:
        photo: a path, or [H, W, 3] uint8 RGB. An array is copied, so that it may be filled again at once, as cameras
            do; what was taken before is not copied again.
        max_pixels: a photo with more pixels is refused.

    Returns:
        [H, W, 3] uint8 RGB, contiguous, and nobody else's.

    Raises:
        PhotoError: the photo cannot be read, or the array is not one.
    """
    if isinstance(photo, str | Path):
        return load_photo(photo, max_pixels)
    if isinstance(photo, Taken):
        return photo.pixels
    if not isinstance(photo, np.ndarray) or photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        came = f"{photo.dtype} {list(photo.shape)}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise PhotoError(f"expected a path or an array [H, W, 3] of uint8 RGB, got {came}")
    if photo.size == 0:
        raise PhotoError(f"the photo has no pixels: its shape is {list(photo.shape)}")
    _refuse_huge(photo.shape[:2], max_pixels, "the photo")
    return np.array(photo, order="C")


def take(photo: str | Path | np.ndarray, max_pixels: int = MOST_PIXELS) -> str | Path | Taken | PhotoError:
    """A photo as it is now, to be segmented later: arrays are copied, paths are not read yet.

    Args:
        photo: a path, or [H, W, 3] uint8 RGB.
        max_pixels: a photo with more pixels is not copied.

    Returns:
        What `as_photo` takes, or the error in the place of an array that is no photo.
    """
    if isinstance(photo, str | Path):
        return photo
    try:
        return Taken(as_photo(photo, max_pixels))
    except PhotoError as error:
        return error


def resize(image: np.ndarray, hw: HW) -> np.ndarray:
    """OpenCV's bilinear resize to (height, width); the array itself if it has that size."""
    if image.shape[:2] == hw:
        return image
    resized: np.ndarray = cv2.resize(image, hw[::-1], interpolation=cv2.INTER_LINEAR)
    return resized


def _refuse_huge(hw: tuple[int, ...], max_pixels: int, what: str) -> None:
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


def _upright_rgb(image: Image.Image, path: Path) -> np.ndarray:
    shallow = to_8_bits(image, str(path), lambda: _opened(path))  # first: asking for EXIF decodes a PNG
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    image = shallow
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))
