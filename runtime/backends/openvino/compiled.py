"""Models that OpenVINO compiled, kept on disk: they open in less time, and take half of the memory.

OpenVINO keeps weights twice: as they were, and packed for its products. In a model that is imported the first are a
mapped file, whose pages need not stay in memory once it has packed them. So models are always imported, also in the
process that kept them.

An entry's name is a hash of all that the compiled model depends on, so that no other graph, version, CPU or setting
ever finds it. It is read as `runtime.kept` reads: OpenVINO gets no byte that was not checked, and none that can change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import cache_root
from ...kept.form import Form
from ...kept.mapped import Mapped, read_mapped
from ...kept.trust import log

FOLDER = "openvino"
FORM = Form("openvino-model", 1, most=64 << 30)

KEPT = 32
"""Entries that stay; a new one takes the place of the one that was unused for longest."""


def compile_cached(
    ov: Any, core: Any, path: Path, device: str, settings: Mapping[str, Any], identity: str
) -> tuple[Any, Mapped | None]:
    """Compile a graph, or open what was compiled of it before.

    Args:
        ov: OpenVINO, the module.
        core: its core.
        path: the graph.
        device: OpenVINO's name of it.
        settings: OpenVINO's settings.
        identity: the graph's hash; empty for graphs that are not kept.

    Returns:
        The compiled model, and the memory that its weights lie in, which must live for as long as it is used; None if
        they are its own.
    """
    if not identity:
        return core.compile_model(str(path), device, settings), None
    key = entry_name(core, device, settings, identity)
    entry = cache_root() / FOLDER / key
    if opened := _opened(ov, core, entry, device, settings):
        return opened
    compiled = core.compile_model(str(path), device, settings)
    if not _keep(entry, compiled):
        return compiled, None
    del compiled  # before the memory for another
    return _opened(ov, core, entry, device, settings) or (core.compile_model(str(path), device, settings), None)


def entry_name(core: Any, device: str, settings: Mapping[str, Any], identity: str) -> str:
    """A hash of all that a compiled model depends on."""
    has = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    machine = [core.get_property(device, "FULL_DEVICE_NAME"), list(has), core.get_versions(device)[device].build_number]
    return hashlib.sha256(json.dumps([identity, machine, sorted(settings.items())]).encode()).hexdigest()


def _opened(ov: Any, core: Any, entry: Path, device: str, settings: Mapping[str, Any]) -> tuple[Any, Mapped] | None:
    """A kept model and its memory; None if there is none that fits."""
    kept = read_mapped(FORM, entry, entry.name)
    if kept is None:
        return None
    try:
        compiled = _imported(ov, core, kept, device, settings)
    except RuntimeError as error:  # what OpenVINO wrote is whole, but it does not take it back
        log.warning("%s is not used, and made anew: %s", entry, error)
        return None
    with contextlib.suppress(OSError):
        os.utime(entry)  # used last
    kept.release()
    return compiled, kept


def _imported(ov: Any, core: Any, kept: Mapped, device: str, settings: Mapping[str, Any]) -> Any:
    """The model in this memory. OpenVINO before 2025.3 has no tensors to import from, and copies."""
    try:
        return core.import_model(ov.Tensor(kept.array, shared_memory=True), device, dict(settings))
    except TypeError:
        return core.import_model(kept.array.tobytes(), device, dict(settings))


def _keep(entry: Path, compiled: Any) -> bool:
    """Write a model, whole or not at all; a cache that cannot be written costs time, nothing else."""
    if entry.is_dir():  # what earlier versions kept
        shutil.rmtree(entry, ignore_errors=True)
    if not FORM.write(entry, entry.name, compiled.export_model().getbuffer()):
        return False
    _prune(entry.parent)
    return True


def _prune(folder: Path) -> None:
    """Remove the entries that were unused for longest. (What is open stays usable: it is a copy.)"""
    with contextlib.suppress(OSError):
        entries = sorted(folder.glob("[!.]*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEPT:]:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
