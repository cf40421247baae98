"""Sweeps: what `bench` varies to see how a photo's time grows. Which there are is the pipeline's to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..bundle.bundle import Manifest
from ..photo.reading import resize
from ..words.vocabulary import Vocabulary, random_vocabulary


class Request(NamedTuple):
    """A request to a runner."""

    photo: np.ndarray
    vocabulary: Vocabulary
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Base:
    """The starting point of a sweep."""

    photo: np.ndarray
    vocabulary: Vocabulary
    parameters: Any
    manifest: Manifest

    @property
    def hw(self) -> tuple[int, int]:
        """The photo's size."""
        return self.photo.shape[0], self.photo.shape[1]


class SweepAxis(NamedTuple):
    """A quantity to vary."""

    unit: str
    """The word for one step along it."""
    units: str
    """The word for several."""
    requests: Callable[[Base], list[tuple[float | None, Request]]]
    """The points: where each lies, or None if only the outcome tells (the number of regions)."""


AREAS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the photo, times its own."""


def _sizes(base: Base) -> list[tuple[float | None, Request]]:
    points: list[tuple[float | None, Request]] = []
    for area in AREAS:
        hw = (max(1, round(base.hw[0] * area**0.5)), max(1, round(base.hw[1] * area**0.5)))
        points.append((hw[0] * hw[1] / 1e6, Request(resize(base.photo, hw), base.vocabulary, {})))
    return points


SIZES = SweepAxis("megapixel", "megapixels", _sizes)
"""Every pipeline's."""

COUNTS = (2, 6, 20, 60, 150)


def _classes(base: Base) -> list[tuple[float | None, Request]]:
    length, background = base.manifest.dimensions.embedding, base.vocabulary.background
    vocabularies = {count: random_vocabulary(count, length, background=background) for count in COUNTS}
    return [(count, Request(base.photo, vocabulary, {})) for count, vocabulary in vocabularies.items()]


CLASSES = SweepAxis("class", "classes", _classes)
"""Every pipeline's that takes words."""
