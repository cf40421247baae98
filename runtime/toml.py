"""TOML: read by the standard library, and by its forerunner on Python 3.10."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .errors import OvdeployError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DecodeError = tomllib.TOMLDecodeError
loads = tomllib.loads


def read_toml(path: str | Path, error: type[OvdeployError], what: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: the file.
        error: what is raised.
        what: what the file should be, for the message.

    Raises:
        OvdeployError: of the type given; the file cannot be read, or is not TOML.
    """
    try:
        return loads(Path(path).read_text(encoding="utf-8"))
    except OSError as reason:
        raise error(f"{path}: {what} cannot be read ({reason.strerror})") from reason
    except ValueError as reason:  # not TOML, not UTF-8, or a number too long for Python
        raise error(f"{path} is not a TOML file: {reason}") from reason
