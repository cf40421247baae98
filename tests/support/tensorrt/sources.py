"""What our own code takes of TensorRT, read in its source."""

from __future__ import annotations

import ast
from pathlib import Path

from support.samples import ROOT


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


OWN = {"tensorrt10": "gpu.py", "tensorrt11": "gpu.py", "tensorrt-rtx": "rtx.py"}
"""The file of what only one library has."""


def sources(which: str) -> list[Path]:
    """The files that run with a library."""
    others = set(OWN.values()) - {OWN[which]}
    folder = ROOT / "runtime" / "backends" / "tensorrt"
    return sorted(path for path in folder.glob("*.py") if path.name not in others)


def names_of(surface: dict) -> set[str]:
    """Every name that TensorRT has: classes, methods, properties, members of enumerations."""
    found = set(surface["classes"])
    for spec in surface["classes"].values():
        found |= {*spec["members"], *spec["methods"], *spec["properties"], *spec["constants"]}
    return found - {"__init__"}


OURS = {"builder", "engine", "file", "logger", "name", "nbytes", "shape"}
"""Attributes of our own objects that TensorRT has too; those below are checked where the fake runs them."""
