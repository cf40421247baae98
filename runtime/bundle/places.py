"""Where bundles lie: folders told from a bundle's, and how one is named on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..boundary.reading import is_file, is_there, listed
from ..errors import BundleError, ParameterError, one_of
from .bundle import MANIFEST, Bundle


class Place(NamedTuple):
    """A bundle, named as FOLDER or FOLDER@PRECISION."""

    folder: Path
    precision: str
    """Empty where none is named."""


def is_bundle(folder: Path) -> bool:
    """Whether a bundle lies in a folder: of any version, readable or not."""
    return is_file(folder / MANIFEST)


def bundle_in(folder: Path) -> Bundle | None:
    """The bundle in a folder that is about to be written; None without one that can be read."""
    try:
        return Bundle.written_here(folder)
    except BundleError:
        return None


def holds_other_files(folder: Path) -> bool:
    """Whether a folder holds something that no bundle may take the place of: files, and no manifest among them."""
    return is_there(folder) and not is_bundle(folder) and any(listed(folder, BundleError))


def place_of(name: str, rivals: Iterable[str]) -> Place:
    """The bundle that a rival's name means; nothing is loaded.

    Args:
        name: FOLDER or FOLDER@PRECISION; a folder whose own name has an "@" goes first.
        rivals: the names that would have been valid too.

    Raises:
        ParameterError: no bundle lies there.
    """
    folder, _, precision = (name, "", "") if is_bundle(Path(name)) else name.rpartition("@")
    if not folder or not is_bundle(Path(folder)):
        raise ParameterError(f"{one_of('rival', name, rivals)} Or give a bundle: FOLDER, or FOLDER@PRECISION.")
    return Place(Path(folder), precision)
