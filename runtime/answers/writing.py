"""Writing JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..boundary.reading import to_json
from ..files import write_bytes


def write_json(path: str | Path, document: Any) -> None:
    """Write a document as JSON, indented, since people read it."""
    write_bytes(path, to_json(document, indent=1))
