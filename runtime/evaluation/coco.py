"""Photos with COCO's annotations of instances: `instances_val2017.json`, and every file of that form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from ..answers.rle import Rle
from ..boundary.arguments import public
from ..boundary.reading import is_folder, read_bytes
from ..datasets.sample import IGNORED, Sample, Thing
from ..errors import DatasetError, ParameterError, VocabularyError, needing, shown
from ..geometry.limits import DATASET_CLASSES, PHOTOS
from ..photo.reading import load_photo
from ..words.vocabulary import BACKGROUND, parse_classes

MOST_BYTES = 2 << 30
"""Of a file of annotations. COCO's train2017 has 0.45 GB."""


class CocoImage(msgspec.Struct, frozen=True):
    """A photo."""

    id: int
    file_name: str


class CocoCategory(msgspec.Struct, frozen=True):
    """A class."""

    id: int
    name: str


class CocoAnnotation(msgspec.Struct, frozen=True):
    """A thing."""

    image_id: int
    category_id: int
    segmentation: Any = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: int = 0


class CocoFile(msgspec.Struct, frozen=True):
    """What is read of a file; all else in it is passed over."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class CocoDataset:
    """Photos and the things in them. Class 0 is the background; the others are the categories, by their ids.

    Labels of pixels are painted from the largest thing to the smallest, and where there is nothing but a crowd they do
    not count.

    Attributes:
        title: the file's name.
        names: the photos' names, as the file has them.
        classes: the background and the categories' names.
        entries: the same: they are words already, and one with semicolons has synonyms.
    """

    background = True
    groups: Mapping[str, tuple[int, ...]] = {}

    @public()
    def __init__(self, path: str | Path, root: str | Path, *, photos: int | None = None) -> None:
        """Read a file of annotations.

        Args:
            path: of the file.
            root: the folder that the photos' names begin in.
            photos: only so many, the first ones; None means all.

        Raises:
            DatasetError: the file cannot be read, is of another form, or does not fit together; there is no such
                folder.
        """
        content = read_bytes(path, DatasetError, "the file of annotations", MOST_BYTES)
        try:
            file = msgspec.json.decode(content, type=CocoFile)
        except (msgspec.DecodeError, RecursionError) as error:
            raise DatasetError(f"{path} holds no annotations of instances in COCO's form: {error}") from error
        if not is_folder(root):
            raise DatasetError(f"{root}: there is no such folder")
        self._root, self.title = Path(root), Path(path).name
        self.identity = {"name": self.title, "annotations": hashlib.sha256(content).hexdigest()}
        categories = sorted(file.categories, key=lambda each: each.id)
        self._classes = {each.id: index + 1 for index, each in enumerate(categories)}
        self.classes = self.entries = _classes_of([each.name for each in categories], path)
        self.names = [each.file_name for each in file.images][:photos]
        self._of_name: dict[str, list[CocoAnnotation]] = {name: [] for name in self.names}
        _check(file, self._classes, path)
        of_image = {each.id: each.file_name for each in file.images}
        for annotation in file.annotations:
            if (name := of_image[annotation.image_id]) in self._of_name:
                self._of_name[name].append(annotation)

    @public()
    def read(self, name: str) -> Sample:
        """A photo and its things.

        Raises:
            PhotoError: the photo is missing or cannot be read.
            DatasetError: it is none of these photos, or an annotation is damaged.
            MissingExtraError: pycocotools is not installed.
        """
        if name not in self._of_name:
            raise DatasetError(f"{shown(name)} is no photo of {self.title}")
        photo = load_photo(self._root / name)
        hw = (photo.shape[0], photo.shape[1])
        try:
            things = tuple(_thing(each, self._classes[each.category_id], hw) for each in self._of_name[name])
        except ParameterError as error:
            raise DatasetError(f"{name}: an annotation cannot be read: {error}") from error
        labels = np.zeros(hw, np.uint16)
        for thing in sorted(things, key=lambda each: (not each.crowd, -each.area)):
            labels[thing.mask] = IGNORED if thing.crowd else thing.class_index
        return Sample(photo, labels, None, things)


def _classes_of(names: list[str], path: str | Path) -> tuple[str, ...]:
    """The classes, the background first.

    Raises:
        DatasetError: there are none or too many, or they are no names that can be told apart.
    """
    classes = (BACKGROUND, *names)
    if not 1 < len(classes) <= DATASET_CLASSES:
        raise DatasetError(f"{path}: expected 1 to {DATASET_CLASSES - 1} categories, got {len(names)}")
    try:
        parse_classes(classes)
    except VocabularyError as error:
        raise DatasetError(f"{path}: the categories' names are no classes: {error}") from error
    return classes


def _check(file: CocoFile, classes: Mapping[int, int], path: str | Path) -> None:
    """Refuse a file that does not fit together.

    Raises:
        DatasetError: says what does not.
    """
    if not 0 < len(file.images) <= PHOTOS:
        raise DatasetError(f"{path}: expected 1 to {PHOTOS:,} photos, got {len(file.images)}")
    images = {each.id for each in file.images}
    if len(images) < len(file.images) or len({each.file_name for each in file.images}) < len(file.images):
        raise DatasetError(f"{path}: an id or a file name of two photos is the same")
    if len(classes) < len(file.categories):
        raise DatasetError(f"{path}: an id of two categories is the same")
    for name in (each.file_name for each in file.images):
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
            raise DatasetError(f"{path}: the photo {shown(name)} lies outside the folder of photos")
    for each in file.annotations:
        if each.image_id not in images or each.category_id not in classes:
            raise DatasetError(
                f"{path}: an annotation is of the photo {each.image_id} and the category {each.category_id}, and one "
                f"of these is not in the file"
            )


def _thing(told: CocoAnnotation, number: int, hw: tuple[int, int]) -> Thing:
    """A thing in a photo.

    Raises:
        ParameterError: what is told of it is damaged, or not of a photo of this size.
    """
    mask = _mask(told.segmentation, hw)
    area = float(mask.sum()) if told.area is None else told.area
    if told.bbox is None:
        x, y = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
        box = (x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1) if len(x) else (0, 0, 0, 0)
    else:
        box = told.bbox
    x0, y0, width, height = map(float, box)
    return Thing(number, mask, area, (x0, y0, width, height), bool(told.iscrowd))


def _mask(told: Any, hw: tuple[int, int]) -> np.ndarray:
    """[H, W] bool of polygons or run lengths; polygons are filled as COCO does it."""
    if isinstance(told, dict):
        rle = Rle.from_coco(told)
        if (rle.height, rle.width) != hw:
            raise ParameterError(f"its mask is {rle.width}×{rle.height} and the photo {hw[1]}×{hw[0]}")
        return rle.decode()
    polygons = told if isinstance(told, list) else []
    if not polygons or not all(_is_polygon(each, hw) for each in polygons):
        raise ParameterError(f"expected polygons of at least three points near the photo, got {shown(told)}")
    with needing("pycocotools", "instances", "COCO's polygons"):
        from pycocotools import mask as coco

    inside: np.ndarray = coco.decode(coco.merge(coco.frPyObjects(polygons, *hw))) > 0
    return inside


def _is_polygon(told: Any, hw: tuple[int, int]) -> bool:
    """Whether it is x₀ y₀ x₁ y₁ …, no farther from the photo than the photo is large: filling walks along the edges."""
    if not isinstance(told, list) or len(told) < 6 or len(told) % 2:
        return False
    most = max(hw)
    return all(type(value) in (int, float) and math.isfinite(value) and -most <= value <= 2 * most for value in told)
