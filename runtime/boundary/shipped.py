"""Data files that come with the package, by name. Listing them reads none, and imports nothing that would."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

RECIPES, DATASETS = "", "datasets"
"""Folders in `engines/`."""


def shipped(folder: str) -> dict[str, Path]:
    """The TOML files of a folder in `engines/`, sorted by name."""
    path = Path(str(resources.files("ovdeploy.engines"))) / folder
    return {file.stem: file for file in sorted(path.glob("*.toml"), key=lambda file: file.stem)}
