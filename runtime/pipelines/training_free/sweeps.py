"""Axes of a photo's work in the training-free pipeline: its size, its windows, classes and regions."""

from __future__ import annotations

import msgspec
import numpy as np

from ...errors import ParameterError
from ...words.vocabulary import random_vocabulary
from ..sweeps import CLASSES, SIZES, Base, Request, SweepAxis
from .methods import method_of
from .plan import plan_photo

MIN_AREAS = (1 / 20, 1 / 80, 1 / 320, 1 / 1280)
"""Of the half-resolution photo: the smaller, the more regions are refined, and never more than its inverse.

Without such a bound random classes break a photo into thousands, and SAM's decoder answers each.
"""

REGION_CLASSES = 60
"""So many classes break a photo into enough regions."""

MOST_WINDOWS, POINTS = 40, 5


def _windows(base: Base) -> list[tuple[float | None, Request]]:
    """Strides that give different numbers of windows, evenly chosen among all that do."""
    patch = base.manifest.dimensions.clip_patch
    strides: dict[int, int] = {}
    for stride in range(base.parameters.crop // patch * patch, 0, -patch):
        parameters = msgspec.structs.replace(base.parameters, stride=stride)
        rows, columns = plan_photo(
            base.hw, parameters, method_of(base.manifest.recipe), base.manifest.dimensions
        ).windows_grid
        if rows * columns > MOST_WINDOWS:
            break
        strides.setdefault(rows * columns, stride)
    counts = sorted(strides)
    chosen = dict.fromkeys(counts[round(i)] for i in np.linspace(0, len(counts) - 1, POINTS))
    return [(count, Request(base.photo, base.vocabulary, {"stride": strides[count]})) for count in chosen]


def _regions(base: Base) -> list[tuple[float | None, Request]]:
    if not base.parameters.refine:
        raise ParameterError("the sweep over regions needs refinement: without it no region is prompted")
    vocabulary = random_vocabulary(
        REGION_CLASSES, base.manifest.dimensions.embedding, background=base.vocabulary.background
    )
    half = base.hw[0] * base.hw[1] / 4
    certain = {"region_threshold": 0.0, "probability_threshold": 0.0}  # every pixel may belong to a region
    return [(None, Request(base.photo, vocabulary, {**certain, "min_area": half * share})) for share in MIN_AREAS]


SWEEPS = {
    "size": SIZES,
    "windows": SweepAxis("window", "windows", _windows),
    "classes": CLASSES,
    "regions": SweepAxis("region", "regions", _regions),
}
