"""The folder beside a bundle in which its engines are made: what is done there is noted, and found again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ...runtime.bundle.bundle import Bundle, file_entry
from ...runtime.bundle.entries import EngineEntry
from ...runtime.errors import BundleError
from ...runtime.graph.model import named_graph
from ...runtime.kept.form import Form
from ...runtime.stage.census import Census

NOTE = Form("staged-engine", 1, most=1 << 24)


def unchanged(previous: Bundle | None, stage: str, precision: str, fingerprint: str) -> EngineEntry | None:
    """The engine in the bundle that is there, if it is what would be exported now and is intact."""
    if previous is None or stage not in previous.manifest.stages:
        return None
    engine = previous.manifest.stages[stage].engines.get(precision)
    if engine is None or engine.fingerprint != fingerprint:
        return None
    try:
        for entry in engine.files:
            previous.verified(entry)
    except BundleError:
        return None
    return engine


def staged(staging: Path, stage: str, precision: str, fingerprint: str) -> EngineEntry | None:
    """The engine that an interrupted export left, if it is what would be exported now and is intact."""
    note = _note(staging, stage, precision)
    try:
        engine = msgspec.json.decode(NOTE.read(note, note.name) or b"", type=EngineEntry)
        intact = all(file_entry(staging / entry.path) == entry for entry in engine.files)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return engine if intact and engine.fingerprint == fingerprint else None


def fresh(path: Path) -> Path:
    """The path, with nothing there any more."""
    for stale in _files_of(path):
        stale.unlink()
    return path


def noted(
    staging: Path, stage: str, path: Path, precision: str, fingerprint: str, census: Census | None, source: str = ""
) -> EngineEntry:
    """The entry of an engine that is done, named by its content; also noted beside it, for an interrupted export."""
    files = tuple(file_entry(file) for file in named_graph(path))
    engine = EngineEntry(files=files, fingerprint=fingerprint, source=source, census=census)
    note = _note(staging, stage, precision)
    NOTE.write(note, note.name, msgspec.json.encode(engine))
    return engine


def _note(staging: Path, stage: str, precision: str) -> Path:
    return staging / f"{stage}.{precision}.done"


def _files_of(path: Path) -> list[Path]:
    """The graph, and its external data if there is any."""
    return [file for file in (path, path.with_name(f"{path.name}.data")) if file.exists()]
