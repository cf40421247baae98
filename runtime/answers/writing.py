"""Writing JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..files import write_bytes


def write_json(path: str | Path, document: Any) -> None:
    """Write a document as JSON, indented, since people read it."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(document), indent=1))
