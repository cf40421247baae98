"""Steps whose results are kept, so that a calibration that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ...runtime.kept.arrays import read_arrays, write_arrays
from ...runtime.kept.form import Form, once

Kind = TypeVar("Kind")
Arrays = dict[str, np.ndarray]

VALUES = Form("calibration-step", 2, most=1 << 30)
ARRAYS = Form("calibration-arrays", 1, most=1 << 36)


class Steps:
    """A folder of results by name, for one set of inputs. What is damaged or lost is made anew when it is asked for.

    Attributes:
        folder: where they lie.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        """Results of one calibration.

        Args:
            root: the cache.
            identity: all that results depend on, as plain values; another identity is another folder.
        """
        self._key = hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()
        self.folder = root / self._key[:24]

    def once(self, name: str, kind: type[Kind], make: Callable[[], Kind]) -> Kind:
        """A result: what was kept under this name, or what `make` gives now."""
        return once(VALUES, self.folder / f"{name}.step", self._of(name), kind, make)

    def arrays(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """Arrays: what was kept under this name, or what `make` gives now."""
        path, key = self.folder / f"{name}.arrays", self._of(name)
        found = read_arrays(ARRAYS, path, key)
        if found is None:
            found = dict(make())
            write_arrays(ARRAYS, path, key, found)
        return found

    def _of(self, name: str) -> str:
        return f"{self._key} {name}"
