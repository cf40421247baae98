"""Legends below pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .text import Text, shortened

MARGIN = 8

LEAST_WIDTH = 240
"""Of a picture with a legend; what is narrower gets white beside it."""


class Entry(NamedTuple):
    """A line of a legend."""

    name: str
    colour: np.ndarray
    """[3] uint8 RGB."""
    note: str = ""
    """Behind the name, never cut."""


class _Placed(NamedTuple):
    name: Text
    note: Text
    colour: tuple[int, ...]
    x: int
    y: int


def add_legend(image: Image.Image, entries: Sequence[Entry], size: int) -> Image.Image:
    """The image with a legend below.

    Args:
        image: RGB.
        entries: in their order; a name that is wider than the picture ends in an ellipsis.
        size: of the letters, in pixels.
    """
    width = max(image.width, LEAST_WIDTH)
    row = size + MARGIN
    placed, end = _placed(entries, size, width)
    canvas = Image.new("RGB", (width, image.height + end + row), "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    for name, note, colour, x, y in placed:
        top = image.height + y
        draw.rectangle((x, top, x + size - 1, top + size - 1), fill=colour)
        left, middle = x + size + MARGIN // 2, top + size // 2
        name.draw(draw, (left, middle), "black")
        note.draw(draw, (left + name.width, middle), "black")
    return canvas


def _placed(entries: Sequence[Entry], size: int, width: int) -> tuple[list[_Placed], int]:
    """Entries with their places, row by row, and the last row's top."""
    placed, x, y = [], MARGIN, MARGIN
    around = size + MARGIN // 2 + 2 * MARGIN
    for entry in entries:
        note = Text(f"  {entry.note}" if entry.note else "", size)
        name = shortened(entry.name, size, width - MARGIN - around - note.width)
        own = around + int(name.width + note.width)
        if x > MARGIN and x + own > width:
            x, y = MARGIN, y + size + MARGIN
        placed.append(_Placed(name, note, tuple(int(value) for value in entry.colour), x, y))
        x += own
    return placed, y
