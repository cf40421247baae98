"""Portions whose photos do as they are told: some end their worker, some take for ever."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ovdeploy.runtime.batch.photos import ContentPhoto
from ovdeploy.runtime.batch.portions import Portion
from ovdeploy.runtime.photo.stored import Known
from support.samples import draw_photo


def encoded(seed: int = 0, hw: tuple[int, int] = (40, 52)) -> bytes:
    """A small photo as a PNG."""
    file = io.BytesIO()
    Image.fromarray(draw_photo(hw, seed)).save(file, format="PNG")
    return file.getvalue()


class Deadly(ContentPhoto):
    """Ends the process that reads it, as a decoder with a bug would."""

    def read(self, max_pixels: int) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class DeadlyOnce(ContentPhoto):
    """The same, the first time."""

    def read(self, max_pixels: int) -> np.ndarray:
        mark = Path(self.name)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(max_pixels)


class Endless(ContentPhoto):
    """Takes for ever."""

    def read(self, max_pixels: int) -> np.ndarray:
        time.sleep(3600)
        raise AssertionError("unreachable")


class EndlessOnce(ContentPhoto):
    """The same, the first time."""

    def read(self, max_pixels: int) -> np.ndarray:
        mark = Path(self.name)
        if not mark.exists():
            mark.touch()
            time.sleep(3600)
        return super().read(max_pixels)


KINDS = {"good": ContentPhoto, "deadly": Deadly, "once": DeadlyOnce, "endless": Endless, "endless once": EndlessOnce}
UNFOUND = "unfound"


class Told(Portion, frozen=True):
    """Photos of these kinds, in their order. One that is unfound ends the process that looks for it."""

    kinds: tuple[str, ...]
    folder: str = ""

    @property
    def count(self) -> int | None:
        return len(self.kinds)

    def photos(self) -> Iterator[Known]:
        for number, kind in enumerate(self.kinds):
            if kind == UNFOUND:
                os.kill(os.getpid(), signal.SIGKILL)
            yield KINDS[kind](f"{self.folder}/{number}", encoded(number))


class Uncounted(Told, frozen=True):
    """The same, but only reading tells how many there are."""

    @property
    def count(self) -> int | None:
        return None


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """A tar of these members, in their order."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
