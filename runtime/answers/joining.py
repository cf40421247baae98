"""Datasets of many photos: COCO's documents of one photo each, joined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ..boundary.arguments import public
from ..boundary.reading import to_json
from ..errors import ParameterError, shown
from ..files import atomic_path
from .coco import SCHEMA

LISTS = ("images", "annotations", "categories")
OF_CATEGORY = "category_id"


class Named(NamedTuple):
    """A document of one photo, and what the dataset calls its files."""

    document: Mapping[str, Any]
    file_name: str
    """Of the photo, from the dataset's folder of photos."""
    folder: str = ""
    """Of the files that annotations name (panoptic's pictures), from the dataset's own, with a slash behind it."""
    source: Path | None = None
    """Where the document was read, for messages."""


@public()
def join_coco(documents: Iterable[Mapping[str, Any]], *, root: str | Path | None = None) -> dict[str, Any]:
    """One dataset of many photos: ids are given anew, and categories are joined by name.

    Args:
        documents: from `Result.to_coco`, from the document of `Result.to_panoptic`, or from this; of one form.
        root: the photos' folder, which `file_name` is told from; None keeps file names as they are.

    Raises:
        ParameterError: a document is none of COCO's, or a photo lies outside the folder.
    """
    joined = _Joined()
    annotations = [told for document in documents for told in joined.added(document, root)]
    return {**joined.head(), "images": joined.images, "annotations": annotations, "categories": joined.categories()}


def write_joined(path: Path, documents: Iterable[Named]) -> None:
    """The same, written while it is joined: only what is said of the photos themselves is kept in memory.

    Raises:
        ParameterError: a document is none of COCO's.
        FileError: the system refuses the path.
    """
    joined, between = _Joined(), b"\n"
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(b'{\n"annotations": [')
        for document, file_name, folder, source in documents:
            try:
                for told in joined.added(document, None, file_name, folder):
                    file.write(between + to_json(told))
                    between = b",\n"
            except ParameterError as error:
                raise ParameterError(f"{source}: {error}") from error
        file.write(b"\n],\n")
        images = b",\n".join(to_json(told) for told in joined.images)
        file.write(b'"images": [\n' + images + b"\n],\n")
        file.write(to_json({**joined.head(), "categories": joined.categories()})[1:])


class _Joined:
    """What was joined so far, but the annotations, which may be many."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self._classes: dict[str, dict[str, Any]] = {}
        self._bundles: set[Any] = set()
        self._schemas: set[Any] = set()
        self._annotations = 0

    def head(self) -> dict[str, Any]:
        """What is said of the dataset."""
        schema = _only(self._schemas, SCHEMA)
        return {"info": {"schema": schema, "path": None, "bundle": _only(self._bundles, "")}}

    def categories(self) -> list[dict[str, Any]]:
        """All classes, by their new ids."""
        return list(self._classes.values())

    def added(
        self, document: Mapping[str, Any], root: str | Path | None, file_name: str | None = None, folder: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Add a document; its annotations with their new ids."""
        if not isinstance(document, Mapping):
            raise ParameterError(f"expected COCO documents, as Result.to_coco makes them, got {shown(document)}")
        images, annotations, classes = _lists(document)
        self._bundles.add(_of_head(document, "bundle"))
        self._schemas.add(_of_head(document, "schema"))
        named = {told["id"]: self._class_id(told) for told in classes}
        numbers = {}
        for told in images:
            numbers[told["id"]] = len(self.images) + 1
            name = _file_name(told, root) if file_name is None else file_name
            self.images.append({**told, "id": numbers[told["id"]], "file_name": name})
        for told in annotations:
            yield self._annotation(told, numbers, named, folder)

    def _class_id(self, told: dict[str, Any]) -> int:
        number = len(self._classes) + 1
        return int(self._classes.setdefault(told["name"], {**told, "id": number})["id"])

    def _annotation(
        self, told: dict[str, Any], images: dict[Any, int], classes: dict[Any, int], folder: str
    ) -> dict[str, Any]:
        """An annotation of instances, or panoptic's of all segments of a photo."""
        self._annotations += 1
        segments = told.get("segments_info")
        parts: dict[str, Any]
        if segments is not None and isinstance(told.get("file_name"), str):
            parts = {
                "segments_info": [_renamed(each, OF_CATEGORY, classes) for each in _dictionaries(segments)],
                "file_name": f"{folder}{told['file_name']}",
            }
        else:
            parts = {"id": self._annotations, OF_CATEGORY: _renamed(told, OF_CATEGORY, classes)[OF_CATEGORY]}
        return {**_renamed(told, "image_id", images), **parts}


def _renamed(told: dict[str, Any], key: str, new: dict[Any, int]) -> dict[str, Any]:
    number = told.get(key)
    if not isinstance(number, int) or number not in new:
        raise ParameterError(f"an annotation is of an image or a category that is not there: {shown(told)}")
    return {**told, key: new[number]}


def _lists(document: Mapping[str, Any]) -> tuple[list[dict[str, Any]], ...]:
    """Images, annotations and categories of a document."""
    found = tuple(_dictionaries(document.get(name)) for name in LISTS)
    named = all(
        isinstance(told.get("id"), int) and isinstance(told.get(key), str)
        for told, key in [*((told, "file_name") for told in found[0]), *((told, "name") for told in found[2])]
    )
    if not named or not all(isinstance(document.get(name), list) for name in LISTS):
        raise ParameterError(
            f"expected COCO documents with {', '.join(LISTS)}, as Result.to_coco makes them, got one with "
            f"{shown(list(document))}"
        )
    return found


def _dictionaries(told: Any) -> list[dict[str, Any]]:
    """The entries of a list; what is no dictionary becomes an empty one, which names nothing."""
    return [each if isinstance(each, dict) else {} for each in told] if isinstance(told, list) else []


def _of_head(document: Mapping[str, Any], key: str) -> str:
    info = document.get("info")
    told = info.get(key, "") if isinstance(info, dict) else ""
    return told if isinstance(told, str) else ""


def _only(found: set[Any], otherwise: str) -> Any:
    return next(iter(found)) if len(found) == 1 else otherwise


def _file_name(told: dict[str, Any], root: str | Path | None) -> str:
    path = told.get("path")
    if root is None or not isinstance(path, str):
        return str(told["file_name"])
    try:
        return PurePath(path).relative_to(root).as_posix()
    except ValueError as error:
        raise ParameterError(f"the photo {shown(path)} does not lie in root={shown(str(root))}") from error
