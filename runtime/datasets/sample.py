"""The interface of datasets: photos with labels, and the names to look for in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

IGNORED = 65_535
"""The label of pixels that do not count."""


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing that is there, as COCO tells of one. Things may overlap."""

    class_index: int
    """Of its class among the dataset's."""
    mask: np.ndarray
    """[H, W] bool."""
    area: float
    """By which COCO calls it small, medium or large, in pixels: of its polygons, where that is what was drawn."""
    box_xywh: tuple[float, float, float, float]
    """x₀, y₀, width, height in pixels."""
    crowd: bool = False
    """Whether it stands for many that nobody parted: what is found in it counts neither way."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A photo and what its pixels are."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    labels: np.ndarray
    """[H, W] uint16 class index, or `IGNORED`."""
    given: tuple[int, ...] | None = None
    """The classes, ascending, whose names are given for this photo; None means all of the dataset's."""
    things: tuple[Thing, ...] | None = None
    """The single things; None where only pixels are labelled."""


class Dataset(Protocol):
    """Labelled photos. Reading is repeatable: the same name gives the same sample."""

    @property
    def title(self) -> str:
        """Its description, in a line."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' own names, in the labels' order."""

    @property
    def entries(self) -> tuple[str, ...]:
        """One entry a class, synonyms separated by semicolons, as `Segmenter.vocabulary` takes them."""

    @property
    def background(self) -> bool:
        """Whether class 0 stands for everything that has no name."""

    @property
    def names(self) -> Sequence[str]:
        """The photos' names, in the order of the run."""

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Classes whose mean IoU is told apart, by the group's name."""

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that differ where the results may; never a path."""

    def read(self, name: str) -> Sample:
        """A photo and its labels.

        Raises:
            PhotoError: the photo is missing or cannot be read.
            DatasetError: the label map is missing, cannot be read, or does not fit.
        """
