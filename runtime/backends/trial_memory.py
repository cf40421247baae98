"""Trials that went well on this machine, each a small file in the cache. What is damaged counts as never tried."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..files import cache_root, write_bytes

FOLDER = "trials"

LARGEST = 1 << 16
"""Bytes of a file past which it is none of ours."""


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file's content."""

    facts: dict[str, str]
    """All that the trial's outcome holds for."""
    sha256: str
    """Of the facts."""


def recall(facts: Mapping[str, str]) -> bool:
    """Whether a trial of exactly these facts is known to have gone well."""
    path = _place(facts)
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        note = msgspec.json.decode(path.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return note.facts == facts and note.sha256 == _digest(facts)


def remember(facts: Mapping[str, str]) -> None:
    """Keep that a trial went well; where nothing can be written it is tried again next time."""
    note = Note(facts=dict(facts), sha256=_digest(facts))
    with contextlib.suppress(OSError):
        write_bytes(_place(facts), msgspec.json.encode(note))


def _place(facts: Mapping[str, str]) -> Path:
    return cache_root() / FOLDER / f"{_digest(facts)}.json"


def _digest(facts: Mapping[str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode(dict(facts), order="sorted")).hexdigest()
