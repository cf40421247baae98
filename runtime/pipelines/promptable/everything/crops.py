"""Where SamAutomaticMaskGenerator looks: crops of the photo, points in each, and what a crop cuts off."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ....geometry.sizes import HW
from .parameters import EverythingParameters

EDGE = 20
"""Pixels from a crop's edge within which a box counts as cut off."""


class Crop(NamedTuple):
    """A part of the photo that is encoded by itself."""

    x0: int
    y0: int
    x1: int
    """Exclusive, as y1."""
    y1: int
    layer: int
    """0 for the whole photo."""

    @property
    def area(self) -> int:
        """Pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def hw(self) -> HW:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    def of(self, photo: np.ndarray) -> np.ndarray:
        """The part of a photo [H, W, 3]."""
        return photo[self.y0 : self.y1, self.x0 : self.x1]


def crops_of(photo_hw: HW, layers: int, overlap: float) -> list[Crop]:
    """The whole photo, then 2 × 2 crops that overlap, then 4 × 4, …, column by column.

    A photo of a few pixels has fewer: those that would have no area are left out.

    Args:
        photo_hw: the photo's size.
        layers: of crops beside the photo.
        overlap: of the first layer's crops, as a share of the short side.
    """
    height, width = photo_hw
    crops = [Crop(0, 0, width, height, 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap * min(photo_hw) * (2 / count))
        columns, rows = (_stretches(side, count, shared) for side in (width, height))
        crops += [Crop(x0, y0, x1, y1, layer) for x0, x1 in columns for y0, y1 in rows]
    return crops


def _stretches(length: int, count: int, shared: int) -> list[tuple[int, int]]:
    """An axis in equal stretches that share so many pixels with their neighbours, from and up to; each once."""
    size = math.ceil((shared * (count - 1) + length) / count)
    starts = [(size - shared) * index for index in range(count)]
    stretches = dict.fromkeys((start, min(start + size, length)) for start in starts)
    return [(start, end) for start, end in stretches if start < end]


def grid(side: int) -> np.ndarray:
    """[side², 2] float64: x y in the middle of side × side equal parts of the unit square, row by row."""
    places = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(places, places)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def rounds_of(side: int, layer: int, settings: EverythingParameters) -> list[np.ndarray]:
    """The grids that a crop is asked by, one after another; only a coarse-to-fine search has more than one.

    Args:
        side: points along a side, of the whole photo.
        layer: of the crop.
        settings: the parameters in force.

    Returns:
        [n, 2] float64 each, x y in the unit square.
    """
    own = max(1, side // settings.crop_points_divisor**layer)
    sides = (own // 4, own // 2, own) if settings.coarse_to_fine else (own,)
    return [grid(each) for each in dict.fromkeys(sides) if each]


def cut_off(boxes: np.ndarray, crop: Crop, photo_hw: HW) -> np.ndarray:
    """Which boxes end at an edge of the crop that is none of the photo: the thing goes on outside.

    Args:
        boxes: [K, 4] int, x₀ y₀ x₁ y₁ in the photo's pixels.
        crop: where they were found.
        photo_hw: the photo's size.

    Returns:
        [K] bool.
    """
    near_crop = np.abs(boxes - np.array([crop.x0, crop.y0, crop.x1, crop.y1])) <= EDGE
    near_photo = np.abs(boxes - np.array([0, 0, photo_hw[1], photo_hw[0]])) <= EDGE
    near: np.ndarray = (near_crop & ~near_photo).any(axis=1)
    return near
