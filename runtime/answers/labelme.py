"""LabelMe's form, which X-AnyLabeling reads too: polygons that people can go on editing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .instance import Subject
from .keyhole import keyhole
from .polygons import Outline

SCHEMA = "ovdeploy/labelme/1"
VERSION = "5.4.1"
"""Of LabelMe, whose keys these are."""


def labelme(subject: Subject, outlines: Sequence[Outline]) -> dict[str, Any]:
    """A photo's annotation; the photo lies beside it, under its own name.

    Args:
        subject: what the outlines are of.
        outlines: holes are joined to their exterior by cuts of no width; several polygons of one instance are a group.
    """
    height, width = subject.hw
    return {
        **subject.head(SCHEMA),
        "version": VERSION,
        "flags": {},
        "shapes": [shape for each in outlines for shape in _shapes(each)],
        "imagePath": subject.file_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(outline: Outline) -> Iterator[dict[str, Any]]:
    instance, polygons = outline
    for polygon in polygons:
        yield {
            "label": instance.class_name,
            "points": keyhole(polygon.exterior, polygon.holes).astype(float).tolist(),
            "group_id": instance.id if len(polygons) > 1 else None,
            "description": f"{instance.score:.4f}",
            "shape_type": "polygon",
            "flags": {},
        }
