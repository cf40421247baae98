"""Exports that a run of tests shares: what one test has exported, with the same fingerprint, no other exports again.

An engine's fingerprint covers all that its graph follows from, so a graph found by it is the one that would be made. If
a fingerprint missed something, parity would fail on the wrong graph.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ovdeploy.export.bundling import build
from ovdeploy.export.bundling.onnx_export import export_onnx
from ovdeploy.export.bundling.staging import fresh, noted
from ovdeploy.runtime.graph import model as graph_model
from ovdeploy.runtime.graph.census import census_of_file
from ovdeploy.runtime.stage.precision import FP32

LIMIT = graph_model.EXTERNAL_DATA_ABOVE
LARGEST = 100_000_000
"""Bytes of a graph past which it is not kept: full-size models are exported by one test each."""


def shared_export(folder: Path) -> Any:
    """A stand-in for the function that exports a stage, which looks in a folder first."""
    original = build._export

    def export(networks: Any, stage: str, staging: Path, fingerprint: str) -> Any:
        if build.export_onnx is not export_onnx or graph_model.EXTERNAL_DATA_ABOVE != LIMIT:
            return original(networks, stage, staging, fingerprint)  # a test replaces it, or wants another form
        kept, path = folder / f"{fingerprint}.onnx", fresh(staging / f"{stage}.{FP32}.onnx")
        if kept.is_file():
            shutil.copyfile(kept, path)
            census = census_of_file(path, networks.contract(stage))
            return noted(staging, stage, path, FP32, fingerprint, census)
        engine = original(networks, stage, staging, fingerprint)
        if len(engine.files) == 1 and engine.files[0].bytes <= LARGEST:
            partial = folder / f"{fingerprint}.{id(networks)}.partial"
            shutil.copyfile(staging / engine.files[0].path, partial)
            partial.replace(kept)  # another process may have been first; the file is the same
        return engine

    return export
