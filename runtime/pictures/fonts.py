"""Fonts: ours for Latin, Greek and Cyrillic letters, and others that are installed here for the rest.

Others are those that `OVDEPLOY_FONTS` names, and then what fontconfig finds (its `fc-match`), which is asked only where
a letter is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from PIL import ImageFont

from ..boundary.reading import why_no_file
from ..errors import warn
from ..reporting import logger

log = logger("pictures")

VARIABLE = "OVDEPLOY_FONTS"
"""The environment variable with font files, separated as in PATH."""

UNASSIGNED = "\U0010fffe"
"""No character, now or ever: a font draws it as it draws what it lacks."""

PROBED = 32
"""Pixels of the letters by which a font is asked what it has."""

MOST_ASKED = 400
"""Characters that fontconfig is asked for at once."""

PATIENCE = 10.0
"""Seconds that fontconfig may take."""


class Face(NamedTuple):
    """A font in a file."""

    path: str
    number: int = 0
    """In a file of several."""


@cache
def own_face() -> Face:
    """The font that comes with this package."""
    return Face(str(resources.files("ovdeploy.runtime.pictures") / "typeface" / "sans.ttf"))


@lru_cache(maxsize=256)
def font_of(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """A font, ready to draw. (`ImageFont.truetype` would take an installed one of the same name for what is none.)

    Args:
        face: the font.
        size: of the letters, in pixels.

    Raises:
        OSError: the file is no font of outlines.
    """
    return ImageFont.FreeTypeFont(face.path, size, index=face.number)


def lacking(face: Face, text: str) -> frozenset[str]:
    """The characters that a font has no drawing of."""
    return frozenset(char for char in set(text) if is_drawn(char) and not _has(face, char))


def is_drawn(char: str) -> bool:
    """Whether a character is something to see: no space, no control character, no mark for the layout alone."""
    return unicodedata.category(char)[0] not in "ZC" and char != "\N{COMBINING GRAPHEME JOINER}"


def face_for(text: str) -> Face | None:
    """The first font that has all characters of a text; None if no single one has."""
    for face in (own_face(), *_named_faces()):
        if not lacking(face, text):
            return face
    found = _found_face(frozenset(char for char in text if is_drawn(char)))
    return found if found is not None and not lacking(found, text) else None


def tell_missing(characters: Iterable[str]) -> None:
    """Tell the user, once in a process for each character, that no font here has it."""
    new = sorted(set(characters) - _told)
    if new:
        _told.update(new)
        named = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in new[:5])
        more = f" and {len(new) - 5} more" if len(new) > 5 else ""
        warn(f"no font here has {named}{more}; pictures show a box in their place. Install a font that has them, or "
             f"give its file by {VARIABLE}")  # fmt: skip


_told: set[str] = set()


@lru_cache(maxsize=1 << 16)
def _has(face: Face, char: str) -> bool:
    try:
        font = ImageFont.FreeTypeFont(face.path, PROBED, index=face.number, layout_engine=ImageFont.Layout.BASIC)
        drawn, lacked = font.getmask(char, "1"), _lacked(face)
    except (OSError, ValueError):
        return False
    return (drawn.size, bytes(drawn)) != lacked


@cache
def _lacked(face: Face) -> tuple[tuple[int, int], bytes]:
    """How a font draws what it lacks."""
    font = ImageFont.FreeTypeFont(face.path, PROBED, index=face.number, layout_engine=ImageFont.Layout.BASIC)
    drawn = font.getmask(UNASSIGNED, "1")
    return drawn.size, bytes(drawn)


def _named_faces() -> tuple[Face, ...]:
    return _faces_in(os.environ.get(VARIABLE, ""))


@cache
def _faces_in(paths: str) -> tuple[Face, ...]:
    """The fonts of the environment variable's value; what is none is told once."""
    faces = []
    for path in filter(None, paths.split(os.pathsep)):
        try:
            if why := why_no_file(path):  # Pillow would wait for a FIFO
                raise ValueError(why)
            font_of(Face(path), PROBED)
        except (OSError, ValueError) as error:
            warn(f"{VARIABLE} names {path!r}, which is no font that can be read ({error})")
        else:
            faces.append(Face(path))
    return tuple(faces)


@lru_cache(maxsize=1024)
def _found_face(characters: frozenset[str]) -> Face | None:
    """What fontconfig finds for some characters, though it need not have all of them."""
    program = shutil.which("fc-match")
    if program is None or not characters or len(characters) > MOST_ASKED:
        return None
    charset = " ".join(f"{ord(char):x}" for char in sorted(characters))
    command = [program, "--format", "%{index} %{file}", f"sans:scalable=true:charset={charset}"]
    try:
        done = subprocess.run(  # noqa: S603 (a list and no shell; numbers are all that comes from outside)
            command, capture_output=True, timeout=PATIENCE, check=True, text=True, errors="surrogateescape"
        )
        index, path = done.stdout.split(" ", 1)
        face = Face(path, int(index) & 0xFFFF)  # above are instances of variable fonts
        font_of(face, PROBED)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.debug("fontconfig gives no font for %s: %s", charset, error)
        return None
    return face
