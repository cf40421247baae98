"""Depth: photos of more than 8 bits a value are brought to 8, without turning black.

A file says how many bits a value has room for, and seldom how many it uses: cameras and scanners put 10, 12 or 14 bits
into 16, and their photos would be black if the upper byte were taken. So the depth is the declared one where the file
declares less than its room, and else the smallest usual one that holds the brightest value, with a warning if that is
less than 16.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..errors import PhotoError, warn

GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of deep grey values."""

NATIVE, OTHER = ("16L", "16B") if sys.byteorder == "little" else ("16B", "16L")
LOWER = {NATIVE: OTHER, OTHER: NATIVE, "16N": OTHER}
"""Of deep colours Pillow takes the upper byte; told of the other order of bytes, it takes the lower one."""

DEPTHS = (8, 10, 12, 14, 16)
"""Usual depths. What is above the last has no known range."""

SCALED = ("PPM", "JPEG2000")
"""Formats that say how deep they are, and whose values Pillow has brought to 16 bits by that."""

BITS = 258
"""TIFF's tag for the bits of a value."""

ARGUMENTS = 3
"""Where a decoder's arguments stand in a tile of Pillow's."""

TO_DO = "Scale it to 0 … 255 yourself, and save 8 bits"


def to_8_bits(image: Image.Image, what: str, again: Callable[[], Image.Image]) -> Image.Image:
    """The image with at most 8 bits a value; the image itself if it needs nothing, or is brought to that by Pillow.

    Args:
        image: opened, and not decoded yet.
        what: its name, for messages.
        again: opens it once more.

    Raises:
        PhotoError: its values have no known range: floating-point numbers, negative ones, or more than 16 bits; or they
            cannot be told from what Pillow reads.
    """
    if image.mode == "F":
        raise PhotoError(f"{what}: floating-point values have no fixed range. {TO_DO} (values of 0 … 1: times 255)")
    if image.mode in GREY:
        return Image.fromarray(_grey(np.asarray(image), declared_bits(image), what))
    if not getattr(image, "tile", None) or (max(_tags(image), default=8) <= 8 and ";16" not in _rawmode(image)):
        return image
    kind, _, order = _rawmode(image).partition(";")
    upper = np.asarray(image)
    if order not in LOWER:
        raise PhotoError(f"{what}: 16-bit colours in planes of their own are not read. {TO_DO}")
    if image.format in SCALED or _colours(upper).max() >> 6:  # 15 bits are used, or 16
        return image
    if kind == "LA":
        raise PhotoError(f"{what}: 16-bit grey with transparency, of which 14 bits or fewer are used. {TO_DO}")
    with again() as other:
        other.tile = [_unpacked_by(tile, f"{kind};{LOWER[order]}") for tile in other.tile]
        lower = np.asarray(other)
    return Image.fromarray(_deep_colours(upper.astype(np.uint16) << 8 | lower), image.mode)


def declared_bits(image: Image.Image) -> int:
    """The bits that a file says its grey values have, where that says what they mean; else 0."""
    if image.format in SCALED:
        return DEPTHS[-1]
    return next((bits for bits in _tags(image) if 8 < bits < DEPTHS[-1]), 0)


def used_bits(brightest: int) -> int:
    """The smallest usual depth that holds a value; 0 if none does. One of less than 16 bits is warned of."""
    bits = next((bits for bits in DEPTHS if brightest < 1 << bits), 0)
    if brightest and 0 < bits < DEPTHS[-1]:
        warn(
            f"a photo has room for 16 bits a value or more and uses {bits}, so it is read as one of {bits} bits. If it "
            f"is meant to be that dark, save it with 8 bits"
        )
    return bits


def _grey(values: np.ndarray, declared: int, what: str) -> np.ndarray:
    """[H, W] uint8 of integers of any width."""
    least, most = int(values.min()), int(values.max())
    bits = 0 if least < 0 else declared or used_bits(most)
    if not bits or most >= 1 << bits:
        raise PhotoError(f"{what}: integers from {least} to {most} have no known range. {TO_DO}")
    return (values >> (bits - 8)).astype(np.uint8)


def _deep_colours(values: np.ndarray) -> np.ndarray:
    """[H, W, C] uint8 of uint16; transparency is as deep as the colours, or has all 16 bits."""
    shift = used_bits(int(_colours(values).max())) - 8
    shallow = (values >> shift).astype(np.uint8)
    if values.shape[2] == 4 and values[..., 3].max() >> (shift + 8):
        shallow[..., 3] = values[..., 3] >> 8
    return shallow


def _colours(values: np.ndarray) -> np.ndarray:
    """[H, W, C] without transparency."""
    return values[..., :1] if values.shape[2] == 2 else values[..., :3]


def _tags(image: Image.Image) -> tuple[int, ...]:
    """The bits of every channel, as a TIFF says; empty for other formats."""
    tags = getattr(image, "tag_v2", None)
    return tuple(tags.get(BITS, ())) if tags is not None else ()


def _rawmode(image: Image.Image) -> str:
    """How Pillow unpacks a pixel, `RGB;16B` for example; empty where it does not say."""
    args = image.tile[0][ARGUMENTS]
    first = args if isinstance(args, str) else next(iter(args or ()), "")
    return first if isinstance(first, str) else ""


def _unpacked_by(tile: Any, rawmode: str) -> Any:
    """A tile with another way to unpack. Older Pillows have plain tuples for them."""
    args = _with(tile[ARGUMENTS], rawmode)
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:ARGUMENTS], args)


def _with(args: object, rawmode: str) -> object:
    """A decoder's arguments with another way to unpack."""
    return (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode
