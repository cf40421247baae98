"""The commands that messages about a bundle advise: they act on that bundle, and can be copied as they stand.

What only the user knows stands there in capitals.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..boundary.shipped import RECIPES, shipped
from ..stage.precision import FP8, FP32, INT8

if TYPE_CHECKING:
    from .bundle import Manifest
    from .entries import FileEntry

CALIBRATED = (INT8, FP8)
"""Precisions that `ovdeploy calibrate` makes, from another bundle; the others come from `export-engines`."""


def exporting_anew(path: Path) -> str:
    """The command that makes a bundle where there is none."""
    return shlex.join(
        ["export-engines", path.name if path.name in shipped(RECIPES) else "RECIPE", "--output", str(path)]
    )


def exporting(path: Path, manifest: Manifest, *options: str) -> str:
    """The command that exports a bundle again, or a part of it.

    Args:
        path: the bundle's folder.
        manifest: its own.
        options: what to do beside it: `--force`, `--stages` and names.
    """
    recipe = manifest.recipe
    name = recipe.name if recipe.name in shipped(RECIPES) else f"{recipe.name}.toml"
    preset = ["--preset", recipe.preset.name] if recipe.preset else []
    return shlex.join(["export-engines", name, *preset, "--output", str(path), *_weights(manifest), *options])


def adding(path: Path, manifest: Manifest, stage: str) -> str:
    """The command that exports a stage which the bundle lacks. It names the others too, since those that are not named
    and were made by another version would be left out."""
    return exporting(path, manifest, "--stages", ",".join(dict.fromkeys((*manifest.stages, stage))))


def making(path: Path, manifest: Manifest, precision: str) -> str:
    """The command that makes the engines of a precision again."""
    if precision in CALIBRATED:
        from_float = ["--bundle", "FLOAT_BUNDLE", "--images", "PHOTOS"]
        return shlex.join(["ovdeploy", "calibrate", *from_float, "--precision", precision, "--output", str(path)])
    lowered = [] if precision == FP32 else ["--precision", precision]
    return exporting(path, manifest, *lowered, "--force")


def making_file(path: Path, manifest: Manifest, entry: FileEntry) -> str:
    """The command that makes a file of the manifest again."""
    for name, stage in manifest.stages.items():
        for precision, engine in stage.engines.items():
            if entry in engine.files:
                return making(path, manifest, precision)
        for plan in stage.plans:
            if entry == plan.file:
                options = ("--stages", name, "--precision", plan.precision, "--backend", plan.library, "--force")
                return building_plans(path, *options)
    return exporting(path, manifest, "--force")


def building_plans(path: Path, *options: str) -> str:
    """The command that builds plans of a bundle."""
    return shlex.join(["ovdeploy", "build-plans", "--bundle", str(path), *options])


def signing(path: Path) -> str:
    """The command that signs a bundle."""
    return shlex.join(["ovdeploy", "sign", "--bundle", str(path), "--key", "PRIVATE.pem"])


def _weights(manifest: Manifest) -> Iterator[str]:
    """Options for weights that are not the recipe's own; of a file, whose place the bundle does not know, the name."""
    for role, provenance in manifest.provenance.items():
        kind, _, name = provenance.source.partition(":")
        source = {"file": name, "pretrained": kind}.get(kind, provenance.source)
        choice = manifest.recipe.models.get(role)
        if choice is None or source != choice.weights:
            yield from ("--weights", f"{role}={source}")
