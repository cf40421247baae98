"""What our own code takes of TensorRT, read in its source."""

from __future__ import annotations

import ast
from pathlib import Path

from support.samples import ROOT


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def sources() -> list[Path]:
    return sorted((ROOT / "runtime" / "backends" / "tensorrt").glob("*.py"))


def names_of(surface: dict) -> set[str]:
    """Every name that TensorRT has: classes, methods, properties, members of enumerations."""
    found = set(surface["classes"])
    for spec in surface["classes"].values():
        found |= {*spec["members"], *spec["methods"], *spec["properties"], *spec["constants"]}
    return found - {"__init__"}


OURS = {"file", "name", "nbytes", "shape"}
"""Attributes of our own objects that TensorRT has too; those below are checked where the fake runs them."""
