"""COCO's form of instances, of one photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .instance import Instance, Subject
from .keyhole import keyhole
from .polygons import Outline
from .rle import compressed

SCHEMA = "ovdeploy/coco/1"


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
    return _document(subject, instances, [{"size": list(subject.hw), "counts": text} for text in texts])


def coco_polygons(subject: Subject, outlines: Sequence[Outline]) -> dict[str, Any]:
    """The same with polygons in the place of run lengths, for readers that know no others.

    Args:
        subject: what the instances are of.
        outlines: holes are joined to their exterior by cuts of no width.
    """
    rings = [[keyhole(*polygon).reshape(-1).tolist() for polygon in polygons] for _, polygons in outlines]
    return _document(subject, [instance for instance, _ in outlines], rings)


def _document(subject: Subject, instances: Sequence[Instance], segmentations: Sequence[Any]) -> dict[str, Any]:
    return {
        "info": subject.head(SCHEMA),
        "images": [image(subject)],
        "annotations": [_annotation(*each) for each in zip(instances, segmentations, strict=True)],
        "categories": categories(subject),
    }


def _annotation(instance: Instance, segmentation: Any) -> dict[str, Any]:
    return {
        "id": instance.id,
        "image_id": 1,
        "category_id": category_id(instance.class_index),
        "segmentation": segmentation,
        "area": instance.area,
        "bbox": instance.box_xywh,
        "iscrowd": 0,
        "score": instance.score,
    }
