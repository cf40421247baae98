"""The bundles that tests run on: of `micro`, `micro-catseg`, `micro-catseg-sam`, `micro-escnet`, `grounded-micro`.

`python -m support.made FOLDER` in `tests/` makes them all.

A machine without PyTorch is given the folder by OVDEPLOY_TEST_BUNDLES.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from ovdeploy.export.bundling import build
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, load_recipe
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from ovdeploy.runtime.bundle.entries import EngineEntry, StageEntry
from ovdeploy.runtime.graph.census import census_of_file
from ovdeploy.runtime.graph.islands import STANDARD
from ovdeploy.runtime.graph.model import save_model
from ovdeploy.runtime.stage.precision import FP32, HALF, INT8W, QUANTISED, RESTS
from support.exports import VARIABLE, exports_folder, shared_export
from support.precisions import graph_in


def complete(networks: Any, micro: Path, folder: Path) -> None:
    """A copy of the bundle with all optional stages, which are added afterwards."""
    shutil.copytree(micro, folder)
    build_bundle(networks, folder, stages=[use.name for use in networks.recipe.uses if use.purpose])


def native(networks: Any, complete: Path, folder: Path) -> None:
    """A copy of the complete bundle in every precision: those that are exported, and engines with ranges at random.

    They compute what nobody wants to see; but their graphs have the form that calibrated ones have.
    """
    shutil.copytree(complete, folder)
    for precision in (*HALF, INT8W):
        build_bundle(networks, folder, conversion=HalfConversion(networks, precision))
    for precision in QUANTISED:
        _quantise(folder, precision, {use.name for use in networks.recipe.uses if use.int8})


def _quantise(folder: Path, precision: str, names: set[str]) -> None:
    bundle = Bundle.load(folder)
    stages = {
        name: _quantised(bundle, name, precision)
        if name in names
        else msgspec.structs.replace(entry, substitutes={**entry.substitutes, precision: RESTS[precision]})
        for name, entry in bundle.manifest.stages.items()
    }
    write_manifest(folder, msgspec.structs.replace(bundle.manifest, stages=stages))


def _quantised(bundle: Bundle, stage: str, precision: str) -> StageEntry:
    entry, path = bundle.stage(stage), bundle.path / f"{stage}.{precision}.onnx"
    save_model(graph_in(precision, bundle.engine_path(stage, FP32), STANDARD), path)
    file, origin = file_entry(path), entry.engines[FP32].fingerprint
    census = census_of_file(path, entry.contract)
    engine = EngineEntry(files=(file,), fingerprint=file.sha256, source=origin, census=census)
    return msgspec.structs.replace(entry, engines={**entry.engines, precision: engine})


def main(folder: Path) -> None:
    """Make them all, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.environ.get(VARIABLE):  # of graphs that tests have exported
        build._export = shared_export(exports_folder(folder))
    networks = Networks.load(load_recipe("micro"))
    build_bundle(networks, folder / "micro")
    for name in ("micro-catseg", "micro-catseg-sam", "grounded-micro"):
        build_bundle(Networks.load(load_recipe(name)), folder / name)
    escnet = Networks.load(load_recipe("micro-escnet"))
    build_bundle(escnet, folder / "micro-escnet", stages=[use.name for use in escnet.recipe.uses])
    complete(networks, folder / "micro", folder / "complete")
    native(networks, folder / "complete", folder / "native")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
