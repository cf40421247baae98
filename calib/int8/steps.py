"""Steps whose results are kept, so that a calibration that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ...runtime.files import atomic_path, write_bytes

Kind = TypeVar("Kind")


class Steps:
    """A folder of results by name, for one set of inputs.

    Attributes:
        folder: where they lie.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        """Results of one calibration.

        Args:
            root: the cache.
            identity: all that results depend on, as plain values; another identity is another folder.
        """
        key = hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()[:24]
        self.folder = root / key

    def once(self, name: str, kind: type[Kind], make: Callable[[], Kind]) -> Kind:
        """A result: what was kept under this name, or what `make` gives now."""
        path = self.folder / f"{name}.json"
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=kind)
        made = make()
        write_bytes(path, msgspec.json.encode(made))
        return made

    def arrays(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Path:
        """The path of a file of arrays, made now if it is not there."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            made = make()
            with atomic_path(path) as temporary, open(temporary, "wb") as file:  # a path would get another suffix
                np.savez(file, **dict(made))  # type: ignore[arg-type]
        return path
