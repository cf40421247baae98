"""The manifest of a table: all that its rows depend on. A run that depends on something else is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..boundary.reading import is_there, read_text
from ..bundle.locks import locked
from ..errors import BusyError, OutputError
from ..files import write_bytes

MANIFEST = "_batch.json"
"""Beside the shards; readers of tables pass over names that begin with an underscore."""

PATIENCE, PAUSE = 5.0, 0.02
"""Seconds to wait for others that look at the same moment, and between two looks."""


def keep_or_refuse(folder: Path, depends: Mapping[str, Any]) -> None:
    """Write the manifest of a table that has none, or compare with the one that is there.

    Args:
        folder: of the table.
        depends: all that rows depend on but the content of photos, as plain values.

    Raises:
        OutputError: the table depends on something else, or its manifest cannot be read.
        FileError: it cannot be written.
    """
    path, ours = folder / MANIFEST, msgspec.json.encode(depends, order="sorted")
    with _alone(path):
        if not is_there(path):
            write_bytes(path, msgspec.json.format(ours, indent=1))
        there = _read(path)
    plain = msgspec.json.decode(ours)
    differs = sorted(key for key in {*there, *plain} if there.get(key) != plain.get(key))
    if differs:
        raise OutputError(
            f"{folder} holds a table that differs in: {', '.join(differs)}. Write this one to another folder, or call "
            f"the command as it was called then; what it depends on stands in {MANIFEST}"
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a file for the moment that it is looked at and written; somebody else has it as shortly.

    Raises:
        BusyError: somebody has it for long.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with locked(path, "ovdeploy batch"):
                yield
                return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)


def _read(path: Path) -> dict[str, Any]:
    text = read_text(path, OutputError, "the table's manifest")
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise OutputError(f"{path}: the table's manifest is damaged ({error}); write to another folder") from error
    if not isinstance(found, dict):
        raise OutputError(f"{path} is no manifest of a table; write to another folder")
    return found
