"""TOML: read by the standard library, and by its forerunner on Python 3.10."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .boundary.reading import read_bytes, reason
from .errors import OvdeployError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DecodeError = tomllib.TOMLDecodeError
loads = tomllib.loads

LIMIT, DOTS = 1 << 18, 200
"""Bytes of a TOML file, and dots in one line of it. The parser's time grows with the square of a key's parts and of
some other lengths: 30 MB would take hours, and so would one key of 128 KiB. Within these bounds it is a second."""


def read_toml(path: str | Path, error: type[OvdeployError], what: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: the file.
        error: what is raised.
        what: what the file should be, for the message.

    Raises:
        OvdeployError: of the type given; the file cannot be read, or is not TOML.
    """
    content = read_bytes(path, error, what, LIMIT)
    try:
        return loads(_bounded(content.decode("utf-8")))
    except (ValueError, RecursionError) as damage:  # ValueError: also of numbers with thousands of digits
        raise error(f"{path} is not a TOML file: {reason(damage)}") from damage


def _bounded(text: str) -> str:
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise ValueError(f"a line has more than {DOTS} dots; break it, if it is meant so")
    return text
