"""Models that OpenVINO compiled, kept on disk: they open in a third of the time, and their weights are mapped.

An entry is a folder that OpenVINO fills. Its name is a hash of all that the compiled model depends on, so that no
other graph, version, CPU or setting ever finds it; OpenVINO itself checks that what it finds there is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import cache_root

FOLDER = "openvino"

KEPT = 32
"""Entries that stay; a new one takes the place of the one that was unused for longest."""


def compile_cached(core: Any, path: Path, device: str, settings: Mapping[str, Any], identity: str) -> Any:
    """Compile a graph, or open what was compiled of it before.

    Args:
        core: OpenVINO's.
        path: the graph.
        device: OpenVINO's name of it.
        settings: OpenVINO's settings.
        identity: the graph's hash; empty for graphs that are not kept.
    """
    if not identity:
        return core.compile_model(str(path), device, settings)
    entry = cache_root() / FOLDER / entry_name(core, device, settings, identity)
    if entry.is_dir():
        with contextlib.suppress(OSError):
            os.utime(entry)  # used last
        return core.compile_model(str(path), device, {**settings, "CACHE_DIR": str(entry)})
    return _compile_into(entry, core, path, device, settings)


def entry_name(core: Any, device: str, settings: Mapping[str, Any], identity: str) -> str:
    """A hash of all that a compiled model depends on."""
    has = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    machine = [core.get_property(device, "FULL_DEVICE_NAME"), list(has), core.get_versions(device)[device].build_number]
    return hashlib.sha256(json.dumps([identity, machine, sorted(settings.items())]).encode()).hexdigest()


def _compile_into(entry: Path, core: Any, path: Path, device: str, settings: Mapping[str, Any]) -> Any:
    """Compile, and leave the entry whole or not at all; a cache that cannot be written costs time, nothing else."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".", dir=entry.parent))
    except OSError:
        return core.compile_model(str(path), device, settings)
    try:
        try:
            compiled = core.compile_model(str(path), device, {**settings, "CACHE_DIR": str(staging)})
        except RuntimeError:  # of the graph, which then tells again; or a disk that is full
            return core.compile_model(str(path), device, settings)
        with contextlib.suppress(OSError):  # another process was first
            staging.rename(entry)
        _prune(entry.parent)
        return compiled
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _prune(folder: Path) -> None:
    """Remove the entries that were unused for longest. (What is open stays usable: its file is mapped.)"""
    with contextlib.suppress(OSError):
        entries = sorted(folder.glob("[!.]*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEPT:]:
            shutil.rmtree(entry, ignore_errors=True)
