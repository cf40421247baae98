"""Text in any script: measured, shortened and drawn, each letter by a font that has it.

Pillow's Raqm, where it is there (its wheels bring it), joins Arabic letters and writes from right to left; without it
letters stand alone, from left to right.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from PIL import ImageDraw

from .fonts import Face, face_for, font_of, is_drawn, own_face, tell_missing

ELLIPSIS = "…"

NO_PART = ("Cc", "Cs", "Zl", "Zp")
"""Categories of what no line holds: control characters, halves of characters, ends of lines and of paragraphs."""


class _Run(NamedTuple):
    """A part of a text that one font draws."""

    text: str
    face: Face


class Text:
    """A line of text of one size."""

    def __init__(self, text: str, size: int) -> None:
        """Find fonts for a text.

        Args:
            text: of any characters; those that no line holds become spaces.
            size: of the letters, in pixels.
        """
        self._size = size
        self._runs = _runs("".join(" " if unicodedata.category(char) in NO_PART else char for char in text))
        self.width = sum(font_of(face, size).getlength(part) for part, face in self._runs)
        """Pixels from where it begins to where the next text may."""

    def draw(self, draw: ImageDraw.ImageDraw, xy: tuple[float, float], fill: str | int) -> None:
        """Draw it.

        Args:
            draw: on what.
            xy: left end, and the middle between the highest and the lowest letters.
            fill: its colour.
        """
        x, y = xy
        own = font_of(own_face(), self._size)
        ascent, descent = own.getmetrics()
        base = y + (ascent - descent) / 2  # all fonts stand on one line
        for part, face in self._runs:
            font = font_of(face, self._size)
            draw.text((x, base), part, fill=fill, font=font, anchor="ls")
            x += font.getlength(part)


def shortened(text: str, size: int, width: float) -> Text:
    """A text that is not wider than a number of pixels: the first part of it and an ellipsis, if it has to be.

    Args:
        text: of any characters.
        size: of the letters, in pixels.
        width: at most; one letter and the ellipsis are drawn all the same.
    """
    whole = Text(text, size)
    if whole.width <= width or len(text) < 2:
        return whole
    fits, beyond = 1, len(text)
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        fits, beyond = (middle, beyond) if Text(_cut(text, middle), size).width <= width else (fits, middle)
    return Text(_cut(text, fits), size)


def _cut(text: str, count: int) -> str:
    """The first characters of a text, marks with their letter, and an ellipsis."""
    while 0 < count < len(text) and unicodedata.category(text[count])[0] == "M":
        count += 1
    return text[:count].rstrip() + ELLIPSIS


def _runs(text: str) -> list[_Run]:
    """Parts of a text with their fonts: one for all, if there is one that has all letters."""
    face = face_for(text)
    if face is not None:
        return [_Run(text, face)]
    runs: list[_Run] = []
    missing = set()
    for char in text:
        follows = not is_drawn(char) or unicodedata.category(char)[0] == "M"
        found = runs[-1].face if runs and follows else face_for(char)
        if found is None:
            missing.add(char)
        face = found or own_face()
        if runs and runs[-1].face == face:
            runs[-1] = _Run(runs[-1].text + char, face)
        else:
            runs.append(_Run(char, face))
    tell_missing(missing)
    return runs
