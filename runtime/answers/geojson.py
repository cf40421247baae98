"""GeoJSON: instances as features, for maps made of aerial and satellite photos."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..errors import ParameterError, shown
from ..geometry.limits import LARGEST
from .instance import Subject
from .polygons import Outline, Polygon

SCHEMA = "ovdeploy/geojson/1"

PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LAST_ROW = (0.0, 0.0, 1.0)
EXPECTED = "expected six finite numbers a, b, c, d, e, f in rasterio's order"


def geojson(subject: Subject, outlines: Sequence[Outline], transform: Sequence[float] | None) -> dict[str, Any]:
    """A collection of features, one an instance.

    Args:
        subject: what the outlines are of.
        outlines: exteriors run counterclockwise in the map's coordinates, as the standard says.
        transform: a, b, c, d, e, f in rasterio's order (`dataset.transform`), so that a point in column x and row y
            lies at a·x + b·y + c, d·x + e·y + f; None means pixels.

    Raises:
        ParameterError: the transform is no such list, or maps the photo onto a line.
    """
    matrix = _matrix(transform)
    return {
        "type": "FeatureCollection",
        **subject.head(SCHEMA),
        "features": [
            {
                "type": "Feature",
                "id": each.id,
                "geometry": _geometry(found, matrix),
                "properties": {
                    "class_index": each.class_index,
                    "class_name": each.class_name,
                    "score": each.score,
                    "area_pixels": each.area,
                },
            }
            for each, found in outlines
        ],
    }


def _matrix(transform: Sequence[float] | None) -> np.ndarray:
    """[2, 3] float64."""
    try:
        numbers = tuple(map(float, islice(PIXELS if transform is None else transform, 10)))
    except Exception as error:  # an object's own methods may raise anything
        raise ParameterError(f"transform={shown(transform)}: {EXPECTED}") from error
    if len(numbers) == 9 and numbers[6:] == LAST_ROW:  # rasterio's own Affine
        numbers = numbers[:6]
    if len(numbers) != 6 or not all(abs(number) <= LARGEST for number in numbers):
        raise ParameterError(f"transform={shown(transform)}: {EXPECTED}")
    matrix = np.array(numbers, float).reshape(2, 3)
    if not np.linalg.det(matrix[:, :2]):
        raise ParameterError(f"transform={shown(transform)} maps a photo onto a line; is it in GDAL's order?")
    return matrix


def _geometry(polygons: Sequence[Polygon], matrix: np.ndarray) -> dict[str, Any]:
    as_they_are = np.linalg.det(matrix[:, :2]) > 0  # as numbers, rings run as they should, unless the map's y runs up
    found = [[_ring(ring, matrix, as_they_are) for ring in (polygon.exterior, *polygon.holes)] for polygon in polygons]
    return (
        {"type": "Polygon", "coordinates": found[0]}
        if len(found) == 1
        else {"type": "MultiPolygon", "coordinates": found}
    )


def _ring(points: np.ndarray, matrix: np.ndarray, as_they_are: bool) -> list[list[float]]:
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    closed = np.concatenate([placed, placed[:1]])
    ordered: list[list[float]] = (closed if as_they_are else closed[::-1]).tolist()
    return ordered
