"""COCO's form of instances, of one photo and of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..boundary.arguments import public
from ..errors import ParameterError, shown
from .instance import Instance, Subject
from .rle import compressed

SCHEMA = "ovdeploy/coco/1"

LISTS = ("images", "annotations", "categories")


def category_id(class_index: int) -> int:
    """A class's id: from 1, since many readers take 0 for a background."""
    return class_index + 1


def categories(subject: Subject) -> list[dict[str, Any]]:
    """The classes of which there can be instances."""
    return [{"id": category_id(index), "name": name} for index, name in subject.classes]


def image(subject: Subject) -> dict[str, Any]:
    """What COCO says of a photo."""
    height, width = subject.hw
    return {"id": 1, "file_name": subject.file_name, "width": width, "height": height, "path": subject.path}


def coco(subject: Subject, instances: Sequence[Instance]) -> dict[str, Any]:
    """A dataset of one photo.

    Args:
        subject: what the instances are of.
        instances: they may overlap.
    """
    texts = compressed([instance.mask for instance in instances])
    return {
        "info": subject.head(SCHEMA),
        "images": [image(subject)],
        "annotations": [_annotation(each, text, subject) for each, text in zip(instances, texts, strict=True)],
        "categories": categories(subject),
    }


def _annotation(instance: Instance, text: str, subject: Subject) -> dict[str, Any]:
    return {
        "id": instance.id,
        "image_id": 1,
        "category_id": category_id(instance.class_index),
        "segmentation": {"size": list(subject.hw), "counts": text},
        "area": instance.area,
        "bbox": instance.box_xywh,
        "iscrowd": 0,
        "score": instance.score,
    }


@public()
def join_coco(documents: Iterable[Mapping[str, Any]], *, root: str | Path | None = None) -> dict[str, Any]:
    """One dataset of many photos: ids are given anew, and categories are joined by name.

    Args:
        documents: from `Result.to_coco`, or from this.
        root: the photos' folder, which `file_name` is told from; None keeps file names as they are.

    Raises:
        ParameterError: a document is none of COCO's, or a photo lies outside the folder.
    """
    ids: dict[str, int] = {}
    joined: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS}
    bundles = set()
    for document in documents:
        if not isinstance(document, Mapping):
            raise ParameterError(f"expected COCO documents, as Result.to_coco makes them, got {shown(document)}")
        images, annotations, classes = _lists(document)
        bundles.add(_bundle(document))
        named = {told["id"]: ids.setdefault(told["name"], len(ids) + 1) for told in classes}
        numbers = {}
        for told in images:
            numbers[told["id"]] = len(joined["images"]) + 1
            joined["images"].append({**told, "id": numbers[told["id"]], "file_name": _file_name(told, root)})
        joined["annotations"] += _renumbered(annotations, numbers, named, len(joined["annotations"]))
    joined["categories"] = [{"id": number, "name": name} for name, number in ids.items()]
    return {"info": {"schema": SCHEMA, "path": None, "bundle": bundles.pop() if len(bundles) == 1 else ""}, **joined}


def _renumbered(
    annotations: list[Any], images: dict[Any, int], classes: dict[Any, int], before: int
) -> Iterator[dict[str, Any]]:
    for number, told in enumerate(annotations, before + 1):
        image_id, category = told.get("image_id"), told.get("category_id")
        if not (isinstance(image_id, int) and image_id in images and isinstance(category, int) and category in classes):
            raise ParameterError(f"an annotation is of an image or a category that is not there: {shown(told)}")
        yield {**told, "id": number, "image_id": images[image_id], "category_id": classes[category]}


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


def _bundle(document: Mapping[str, Any]) -> Any:
    info = document.get("info")
    told = info.get("bundle", "") if isinstance(info, dict) else ""
    return told if isinstance(told, str) else ""


def _file_name(told: dict[str, Any], root: str | Path | None) -> str:
    path = told.get("path")
    if root is None or not isinstance(path, str):
        return str(told["file_name"])
    try:
        return PurePath(path).relative_to(root).as_posix()
    except ValueError as error:
        raise ParameterError(f"the photo {shown(path)} does not lie in root={shown(str(root))}") from error
