"""The kinds of file that a photo's result can be saved as: what is asked for is computed, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ..boundary.arguments import public
from ..errors import ParameterError, needing, one_of
from ..files import atomic_path
from .instance import instances_document
from .result import Result
from .table import write_table
from .writing import write_json


class Kind(NamedTuple):
    """One kind of answer."""

    suffixes: tuple[str, ...]
    """Of its files, after the photo's name."""
    save: Callable[..., None]
    """Writes them: takes a result, and a path for each suffix."""
    holds: str
    """What is in them, for people."""
    package: str = ""
    """That must be installed to write them."""
    extra: str = ""
    """Of ours, that brings it."""


def _save_instances(result: Result, path: Path) -> None:
    write_json(path, instances_document(result.subject, result.instances()))


def _save_coco(result: Result, path: Path) -> None:
    write_json(path, result.to_coco())


def _save_panoptic(result: Result, path: Path, picture: Path) -> None:
    found = result.to_panoptic(file_name=picture.name)
    with atomic_path(picture) as temporary:
        Image.fromarray(found.ids).save(temporary, format="PNG")
    write_json(path, found.document)  # last: where it is, its picture is


def _save_table(result: Result, path: Path) -> None:
    with atomic_path(path) as temporary:
        write_table(result.to_table(), temporary)


KINDS: dict[str, Kind] = {
    "mask": Kind((".mask.png",), Result.save_mask, "class indices, one a pixel"),
    "overlay": Kind((".overlay.png",), Result.save_overlay, "the photo in the classes' colours, with a legend"),
    "json": Kind((".json",), Result.save_json, "areas, boxes, scores and timings"),
    "instances": Kind((".instances.json",), _save_instances, "every instance: class, box, area, score, run lengths"),
    "coco": Kind((".coco.json",), _save_coco, "the instances in COCO's form"),
    "panoptic": Kind((".panoptic.json", ".panoptic.png"), _save_panoptic, "COCO's panoptic form, and its ids"),
    "table": Kind((".parquet",), _save_table, "the instances as a table of Parquet", "pyarrow", "table"),
}
"""By the name that users ask for."""


@public()
def kind_named(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ParameterError: there is none.
    """
    if name not in KINDS:
        raise ParameterError(one_of("kind of answer", name, KINDS))
    return KINDS[name]


@public()
def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Find out whether answers of some kinds can be saved, before anything is computed for them.

    Returns:
        Their names, each once.

    Raises:
        ParameterError: there is no such kind.
        MissingExtraError: a kind needs a library that is not installed.
    """
    names = tuple(dict.fromkeys(kinds))
    for name in names:
        if package := kind_named(name).package:
            with needing(package, kind_named(name).extra, f"saving {name!r}"):
                import_module(package)
    return names


@public()
def paths_of(kind: str, stem: str | Path) -> tuple[Path, ...]:
    """The files of a kind.

    Args:
        kind: its name.
        stem: the path that the suffixes are put behind, such as `results/cat`.

    Raises:
        ParameterError: there is no such kind.
    """
    return tuple(Path(f"{os.fspath(stem)}{suffix}") for suffix in kind_named(kind).suffixes)


@public()
def save_as(result: Result, kinds: Sequence[str], stem: str | Path) -> tuple[Path, ...]:
    """Save a result as files of some kinds.

    Args:
        result: of a photo.
        kinds: names of `KINDS`.
        stem: the path that the suffixes are put behind: `results/cat` gives `results/cat.mask.png`.

    Returns:
        The files that were written.

    Raises:
        ParameterError: there is no such kind.
        MissingExtraError: a kind needs a library that is not installed.
        FileError: the system refuses a path.
    """
    written: list[Path] = []
    for name in check_kinds(kinds):
        paths = paths_of(name, stem)
        KINDS[name].save(result, *paths)
        written += paths
    return tuple(written)
