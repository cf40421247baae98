"""Kernels that TensorRT-RTX compiled on a GPU, kept beside the plan that they are of."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from ...files import cache_root
from ...kept.form import Form
from .library import slug

SUFFIX = ".kernels"
FORM = Form("kernels", 2, most=512 << 20)
"""Larger ones are not kept."""
MOST_FILES = 4
"""GPUs whose kernels are kept for one plan; the oldest goes."""
MOST_AWAY = 24
"""Files in the user's cache folder, of all plans."""


class RuntimeCache:
    """One file for a plan on a kind of GPU. What is damaged counts as absent; what cannot be written is not kept."""

    def __init__(self, plan: Path, gpu: str) -> None:
        """The cache of a plan, in its folder; in the user's cache folder if that one cannot be written to.

        Args:
            plan: the plan's file. Its name says stage, graph, version and targets.
            gpu: the GPU's name.
        """
        name = f"{plan.name}.{slug(gpu)}{SUFFIX}"
        self._places = [plan.parent / name, cache_root() / "tensorrt-rtx" / name]
        self._plan, self._key = plan, name
        self._known = b""

    def read(self) -> bytes:
        """The kernels; nothing if there are none, or if they are not what was written."""
        for path in self._places:
            if (blob := FORM.read(path, self._key)) is not None:
                self._known = hashlib.sha256(blob).digest()
                return bytes(blob)
        return b""

    def write(self, blob: bytes) -> None:
        """Keep the kernels, if they are new."""
        digest = hashlib.sha256(blob).digest()
        if not blob or digest == self._known:
            return
        for path in self._places:
            if FORM.write(path, self._key, blob, quiet=path != self._places[-1]):
                self._known = digest
                with contextlib.suppress(OSError):  # another process may be sweeping
                    self._sweep(path.parent)
                return

    def _sweep(self, folder: Path) -> None:
        """Remove the oldest of this plan, and those whose plan is gone; away from plans the oldest of all."""
        there = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
        own = [path for path in there if path.name.startswith(f"{self._plan.name}.")]
        at_home = folder == self._plan.parent
        gone = [path for path in there if not (folder / f"{path.name.split('.plan.')[0]}.plan").is_file()]
        for path in (*own[MOST_FILES:], *(gone if at_home else there[MOST_AWAY:])):
            path.unlink(missing_ok=True)
