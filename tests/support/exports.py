"""Exports that tests share: what one test has exported, with the same fingerprint, no other exports again.

An engine's fingerprint covers all that its graph follows from, so a graph found by it is the one that would be made. If
a fingerprint missed something, parity would fail on the wrong graph. `make` names a folder that runs share, too, by
OVDEPLOY_TEST_EXPORTS: what has not changed since is not exported again.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ovdeploy.export.bundling import build
from ovdeploy.export.bundling.onnx_export import export_onnx
from ovdeploy.export.bundling.staging import fresh, noted
from ovdeploy.runtime.graph import model as graph_model
from ovdeploy.runtime.graph.census import census_of_file
from ovdeploy.runtime.stage.precision import FP32

VARIABLE = "OVDEPLOY_TEST_EXPORTS"
LIMIT = graph_model.EXTERNAL_DATA_ABOVE
LARGEST = 100_000_000
"""Bytes of a graph past which it is not kept: full-size models are exported by one test each."""
OURS = re.compile(r"[0-9a-f]{64}\.(onnx|lock|partial)")
"""Names of files that are kept here."""
DAYS = 7
"""After which a graph that no test has asked for goes."""


def exports_folder(otherwise: Path) -> Path:
    """Where graphs are kept: where the variable says, without those that are long out of use, or else elsewhere."""
    folder = Path(os.environ.get(VARIABLE) or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(folder):
        if OURS.fullmatch(entry.name):  # whatever else lies there is none of our business
            with suppress(FileNotFoundError):  # another process may be here too
                if entry.stat().st_mtime < time.time() - DAYS * 86_400:
                    os.unlink(entry.path)
    return folder


def shared_export(folder: Path) -> Any:
    """A stand-in for the function that exports a stage, which looks in a folder first."""
    original = build._export

    def export(networks: Any, stage: str, staging: Path, fingerprint: str) -> Any:
        if build.export_onnx is not export_onnx or graph_model.EXTERNAL_DATA_ABOVE != LIMIT:
            return original(networks, stage, staging, fingerprint)  # a test replaces it, or wants another form
        kept, path = folder / f"{fingerprint}.onnx", fresh(staging / f"{stage}.{FP32}.onnx")
        with _alone(folder / f"{fingerprint}.lock"):
            if not kept.is_file():
                return _exported(original(networks, stage, staging, fingerprint), staging, kept)
            os.utime(kept)
            shutil.copyfile(kept, path)
        census = census_of_file(path, networks.contract(stage))
        return noted(staging, stage, path, FP32, fingerprint, census)

    return export


def _exported(engine: Any, staging: Path, kept: Path) -> Any:
    """Keep an engine's graph, if it is small."""
    if len(engine.files) == 1 and engine.files[0].bytes <= LARGEST:
        partial = kept.with_suffix(".partial")
        shutil.copyfile(staging / engine.files[0].path, partial)
        partial.replace(kept)
    return engine


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let other processes that want the same graph wait for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
