"""Benchmarks that lie in a folder, in their usual layouts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..boundary.arguments import public
from ..boundary.reading import is_folder, is_there, read_text, reason
from ..errors import DatasetError
from ..photo.reading import load_photo
from .labels import label_table, read_labels
from .sample import Sample
from .spec import PLACE, DatasetSpec


class FolderDataset:
    """A benchmark's photos and label maps. Files are looked up when they are read; a missing one is that photo's error.

    Attributes:
        spec: the benchmark's description.
        folder: where its layout begins.
        names: the photos' names, in the list's order, else sorted.
    """

    @public()
    def __init__(self, spec: DatasetSpec, root: str | Path, *, photos: int | None = None) -> None:
        """Find the layout in a folder.

        Args:
            spec: the benchmark's description.
            root: the folder that the layout lies in, or one above it (`VOCdevkit` for `VOCdevkit/VOC2012`).
            photos: only so many, the first ones; None means all.

        Raises:
            DatasetError: the layout, the list or the photos are not there.
        """
        self.spec = spec
        self.folder = _find_folder(spec, Path(root))
        self.names = self._find_names()[:photos]
        if not self.names:
            raise DatasetError(f"{self.folder}: no photos of {spec.name} ({' or '.join(spec.photos)})")
        self._tables = {files.path: label_table(files, spec.classes) for files in spec.labels}

    @property
    def title(self) -> str:
        """Its description, in a line."""
        return self.spec.title

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' own names, in the labels' order."""
        return self.spec.classes

    @property
    def entries(self) -> tuple[str, ...]:
        """One entry a class, synonyms separated by semicolons."""
        return self.spec.entries

    @property
    def background(self) -> bool:
        """Whether class 0 stands for everything that has no name."""
        return self.spec.background

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """None: a benchmark's figure is the mean over all its classes."""
        return {}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The description; not which photos, so that a run on some can go on to more."""
        described = hashlib.sha256(msgspec.json.encode(self.spec)).hexdigest()
        return {"name": self.spec.name, "description": described}

    @public()
    def read(self, name: str) -> Sample:
        """A photo and its labels.

        Raises:
            PhotoError: the photo is missing or cannot be read.
            DatasetError: the label map is missing, cannot be read, or does not fit.
        """
        photo = load_photo(self._photo_path(name))
        return Sample(photo, self._labels(name, (photo.shape[0], photo.shape[1])))

    def _photo_path(self, name: str) -> Path:
        paths = [self.folder / pattern.replace(PLACE, name) for pattern in self.spec.photos]
        return next((path for path in paths if is_there(path)), paths[0])

    def _labels(self, name: str, photo_hw: tuple[int, int]) -> np.ndarray:
        paths = {files.path: self.folder / files.path.replace(PLACE, name) for files in self.spec.labels}
        found = [(path, self._tables[pattern]) for pattern, path in paths.items() if is_there(path)]
        if not found:
            raise DatasetError(f"{name}: no label map; looked for {' and '.join(map(str, paths.values()))}")
        return read_labels(*found[0], photo_hw)

    def _find_names(self) -> list[str]:
        if self.spec.list is None:
            return sorted({name for pattern in self.spec.photos for name in _names_like(self.folder, pattern)})
        lines = read_text(self.folder / self.spec.list, DatasetError, "the list of photos").splitlines()
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _find_folder(spec: DatasetSpec, root: Path) -> Path:
    """The first place below `root` that has the layout's beginnings."""
    if not is_folder(root):
        raise DatasetError(f"{root}: there is no such folder")
    starts = [_fixed_part(pattern) for pattern in spec.photos]
    for folder in (root / below for below in spec.folders):
        if any(is_folder(folder / start) for start in starts):
            return folder
    looked = " or ".join(f"{below}/{starts[0]}".lstrip("/") for below in spec.folders)
    raise DatasetError(f"{root} is not laid out as {spec.name}: there is no {looked} in it")


def _fixed_part(pattern: str) -> str:
    """The folder that a pattern begins with."""
    return pattern.partition(PLACE)[0].rpartition("/")[0]


def _names_like(folder: Path, pattern: str) -> list[str]:
    """Names that `{}` stands for in the files that fit the pattern, folders included, hidden ones not."""
    before, _, after = pattern.partition(PLACE)
    start, _, prefix = before.rpartition("/")
    try:
        found = [path.relative_to(folder / start).as_posix() for path in (folder / start).rglob(f"*{after}")]
    except (OSError, ValueError, NotImplementedError) as error:  # the last of patterns that rglob does not take
        raise DatasetError(f"{folder / start}: the folder cannot be searched ({reason(error)})") from error
    seen = (path for path in found if not any(part.startswith(".") for part in path.split("/")))
    return [path[len(prefix) : -len(after)] for path in seen if path.startswith(prefix)]
