"""Models that OpenVINO compiled, kept on disk: they open in a third of the time, and take half of the memory.

OpenVINO keeps weights twice: as they were, and packed for its products. In a model that it reads from the cache the
first are a mapped file, whose pages need not stay in memory once it has packed them. So models are always read from the
cache, also in the process that filled it.

An entry is a folder that OpenVINO fills. Its name is a hash of all that the compiled model depends on, so that no
other graph, version, CPU or setting ever finds it; OpenVINO itself checks that what it finds there is whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import cache_root

FOLDER = "openvino"

KEPT = 32
"""Entries that stay; a new one takes the place of the one that was unused for longest."""


def compile_cached(
    core: Any, path: Path, device: str, settings: Mapping[str, Any], identity: str
) -> tuple[Any, Path | None]:
    """Compile a graph, or open what was compiled of it before.

    Args:
        core: OpenVINO's.
        path: the graph.
        device: OpenVINO's name of it.
        settings: OpenVINO's settings.
        identity: the graph's hash; empty for graphs that are not kept.

    Returns:
        The compiled model, and the entry that it was read from, for `release_pages`; None if it was not.
    """
    if not identity:
        return core.compile_model(str(path), device, settings), None
    entry = cache_root() / FOLDER / entry_name(core, device, settings, identity)
    if not entry.is_dir() and not _fill(entry, core, path, device, settings):
        return core.compile_model(str(path), device, settings), None
    with contextlib.suppress(OSError):
        os.utime(entry)  # used last
    compiled = core.compile_model(str(path), device, {**settings, "CACHE_DIR": str(entry)})
    release_pages(entry)
    return compiled, entry


def release_pages(folder: Path) -> None:
    """Tell the kernel that mapped files of a folder need not stay in memory; they are read again where they are used.

    Only mappings that cannot be written to, so nothing is lost.
    """
    with contextlib.suppress(OSError, AttributeError):  # AttributeError: a libc without madvise
        advise = ctypes.CDLL(None).madvise
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, rights, *_, name = line.split(maxsplit=5)
            if name.startswith(f"{folder}{os.sep}") and rights.startswith("r--"):
                start, end = (int(address, 16) for address in addresses.split("-"))
                advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def entry_name(core: Any, device: str, settings: Mapping[str, Any], identity: str) -> str:
    """A hash of all that a compiled model depends on."""
    has = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    machine = [core.get_property(device, "FULL_DEVICE_NAME"), list(has), core.get_versions(device)[device].build_number]
    return hashlib.sha256(json.dumps([identity, machine, sorted(settings.items())]).encode()).hexdigest()


def _fill(entry: Path, core: Any, path: Path, device: str, settings: Mapping[str, Any]) -> bool:
    """Compile, and leave the entry whole or not at all; a cache that cannot be written costs time, nothing else.

    Returns:
        Whether the entry is there now.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".", dir=entry.parent))
    except OSError:
        return False
    try:
        core.compile_model(str(path), device, {**settings, "CACHE_DIR": str(staging)})
        staging.rename(entry)
    except (RuntimeError, OSError):  # a graph that does not load, a full disk, another process that was first
        return entry.is_dir()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _prune(entry.parent)
    return True


def _prune(folder: Path) -> None:
    """Remove the entries that were unused for longest. (What is open stays usable: its file is mapped.)"""
    with contextlib.suppress(OSError):
        entries = sorted(folder.glob("[!.]*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEPT:]:
            shutil.rmtree(entry, ignore_errors=True)
