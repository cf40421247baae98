"""A benchmark: its classes in the labels' order, the words for them, and how its folder is laid out. TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from ..boundary.arguments import public
from ..boundary.reading import is_there
from ..boundary.shipped import DATASETS, shipped
from ..errors import DatasetError, VocabularyError, one_of
from ..geometry.limits import DATASET_CLASSES
from ..toml import read_toml
from ..words.vocabulary import BACKGROUND, parse_classes

PLACE = "{}"
"""Stands for a photo's name in the patterns of paths."""

Pattern = Annotated[str, msgspec.Meta(pattern=r"^[^{}]*\{\}[^{}/]+$")]
Values = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,5}(-[0-9]{1,5})?(, [0-9]{1,5}(-[0-9]{1,5})?)*)?$")]
"""Five digits: the values of pixels have 16 bits."""


class LabelFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form in which the label maps may lie there, and what the values of their pixels mean."""

    path: Pattern
    """Relative to the dataset's folder, `{}` for the photo's name."""
    values: Values
    """The value of each class, in the classes' order: "0-10, 12-24"."""
    ignored: Values = ""
    """Values of pixels that do not count."""
    others: str | None = None
    """The class of all values that are named nowhere (`values` then leaves it out); None means that they are errors."""


class DatasetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A benchmark."""

    name: str
    title: str
    source: str
    """Where it was published; which photos, and how many there are."""
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=DATASET_CLASSES)]
    """The classes' own names, in the labels' order."""
    words: dict[str, str] = {}
    """Words for a class before CLIP, where its name is a poor one: synonyms separated by semicolons."""
    folders: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("",)
    """Where the layout may begin, below the folder that the user gives."""
    photos: Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1)]
    """Where photos may lie, `{}` for the name."""
    list: str | None = None
    """A text file with a photo's name in each line; None means all photos that are there."""
    labels: Annotated[tuple[LabelFiles, ...], msgspec.Meta(min_length=1)]
    """Forms of label maps; the first that is there is read, photo by photo."""

    @property
    def entries(self) -> tuple[str, ...]:
        """One entry a class, synonyms separated by semicolons, as `Segmenter.vocabulary` takes them."""
        return tuple(self.words.get(name, name) for name in self.classes)

    @property
    def background(self) -> bool:
        """Whether class 0 stands for everything that has no name."""
        return self.classes[0] == BACKGROUND


def available_specs() -> dict[str, Path]:
    """The benchmarks that the package knows, by name."""
    return shipped(DATASETS)


@public()
def load_spec(name_or_path: str | Path) -> DatasetSpec:
    """Read a benchmark's description by its name, or from a TOML file of the user's.

    Raises:
        DatasetError: no such benchmark, not TOML, a key or value that does not belong there, or values and classes
            that do not fit together.
    """
    known = available_specs()
    path = known.get(str(name_or_path), Path(name_or_path))
    if not is_there(path):
        raise DatasetError(f"{one_of('dataset', str(name_or_path), known)} Or give the path of a TOML file.")
    data = read_toml(path, DatasetError, "the dataset's description")
    try:
        spec = msgspec.convert({"name": path.stem, **data}, DatasetSpec)
    except msgspec.ValidationError as error:
        raise DatasetError(f"{path} does not describe a dataset: {error}") from error
    _check(spec, str(path))
    return spec


def parse_values(values: str) -> list[int]:
    """The numbers of a list such as "0-10, 12": both ends of a range belong to it."""
    numbers: list[int] = []
    for part in filter(None, values.split(", ")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _check(spec: DatasetSpec, where: str) -> None:
    try:
        parse_classes(spec.entries)
    except VocabularyError as error:
        raise DatasetError(f"{where}: {error}") from error
    for name in {*spec.words, *(files.others for files in spec.labels if files.others is not None)}:
        if name not in spec.classes:
            raise DatasetError(f"{where}: {one_of('class', name, spec.classes)}")
    for files in spec.labels:
        wanted = len(spec.classes) - (files.others is not None)
        values = parse_values(files.values)
        if len(values) != wanted:
            raise DatasetError(
                f"{where}: {files.path} has {len(values)} values for {wanted} classes; name each class's value once, "
                f"in the classes' order"
            )
        used = values + parse_values(files.ignored)
        if len(set(used)) != len(used) or max(used) >= 1 << 16:
            raise DatasetError(f"{where}: a value of {files.path} stands twice, or is above {(1 << 16) - 1}")
