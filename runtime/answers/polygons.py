"""Instances as polygons with holes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ParameterError, shown
from ..geometry.limits import LONGEST_SIDE
from .instance import Instance, Subject
from .outline import Part, outline
from .rle import cropped
from .simplify import simplified

SCHEMA = "ovdeploy/polygons/1"


class Polygon(NamedTuple):
    """A polygon in photo pixels: the pixel in column x and row y covers x to x + 1 and y to y + 1."""

    exterior: np.ndarray
    """[N, 2] int, x and y; not closed, clockwise on a screen."""
    holes: tuple[np.ndarray, ...]
    """[M, 2] int each, the other way."""


class Outline(NamedTuple):
    """An instance's polygons: several where its parts touch at corners alone, since each is valid by itself."""

    instance: Instance
    polygons: tuple[Polygon, ...]


def outlines_of(instances: Sequence[Instance], tolerance: float) -> tuple[Outline, ...]:
    """The outlines of instances.

    Args:
        instances: they may overlap.
        tolerance: how far an outline may move so that it has fewer corners, in pixels; at 0 the polygons are the
            pixels.

    Raises:
        ParameterError: the tolerance is below 0, or no number.
    """
    if not 0 <= tolerance <= LONGEST_SIDE or math.isnan(tolerance):
        raise ParameterError(f"tolerance={shown(tolerance)}: expected pixels, from 0 to {LONGEST_SIDE}")
    return tuple(_outline(instance, float(tolerance)) for instance in instances)


def _outline(instance: Instance, tolerance: float) -> Outline:
    inside = cropped(instance.mask, instance.box_xyxy)
    parts: Sequence[Part] = outline(inside)
    if tolerance:
        parts = simplified(parts, inside, tolerance)
    corner = np.array(instance.box_xyxy[:2])
    found = [
        Polygon(part.exterior.points + corner, tuple(hole.points + corner for hole in part.holes)) for part in parts
    ]
    return Outline(instance, tuple(found))


def polygons_document(subject: Subject, outlines: Sequence[Outline]) -> dict[str, Any]:
    """Polygons as plain values."""
    height, width = subject.hw
    return {
        **subject.head(SCHEMA),
        "size": {"height": height, "width": width},
        "instances": [
            {
                "id": each.id,
                "class_index": each.class_index,
                "class_name": each.class_name,
                "score": each.score,
                "polygons": [
                    {"exterior": polygon.exterior.tolist(), "holes": [hole.tolist() for hole in polygon.holes]}
                    for polygon in found
                ],
            }
            for each, found in outlines
        ],
    }
