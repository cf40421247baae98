"""Bundles that are changed for a test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec
import onnx

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from ovdeploy.runtime.bundle.seal import sealed
from ovdeploy.runtime.stage.precision import FP32


def engine_file(folder: Path, stage: str, precision: str = FP32) -> Path:
    """The path of a stage's graph, unverified."""
    return folder / Bundle.load(folder).manifest.stages[stage].engines[precision].files[0].path


def write_data(folder: Path, data: dict) -> None:
    """Write what JSON says of a manifest, with the digest that it then has."""
    (folder / "bundle.json").write_text(json.dumps(sealed(data)), encoding="utf-8")


def with_graph(source: Path, folder: Path, stage: str, model: onnx.ModelProto, keep: Collection[str] = ()) -> Path:
    """A copy of a bundle in which another graph goes by a stage's FP32 one.

    Args:
        source: the bundle, with graphs in FP32.
        folder: where the copy goes.
        stage: whose graph is another.
        model: the graph.
        keep: stages that the copy's manifest names; none means all.
    """
    shutil.copytree(source, folder)
    path = folder / f"{stage}.{FP32}.onnx"
    onnx.save(model, path)
    manifest = Bundle.load(folder).manifest
    stages = {name: entry for name, entry in manifest.stages.items() if not keep or name in keep}
    engine = msgspec.structs.replace(stages[stage].engines[FP32], files=(file_entry(path),))
    stages[stage] = msgspec.structs.replace(stages[stage], engines={FP32: engine})
    write_manifest(folder, msgspec.structs.replace(manifest, stages=stages))
    return folder
