"""The regions that were refined, as a result tells them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..labelling.regions import Regions


@dataclass(frozen=True)
class Region:
    """One connected component of one class in the coarse mask. Coordinates are in photo pixels, origin at top left."""

    class_index: int
    class_name: str
    area: int
    """Pixels of the photo that the region covers (it was measured at half resolution)."""
    box_xyxy: tuple[int, int, int, int]
    """x₀, y₀, x₁, y₁, inclusive."""
    point_xy: tuple[int, int]
    """Where the class is most probable."""
    score: float
    """Mean probability of the class inside."""
    iou: float
    """SAM's own estimate of the refined mask's IoU."""
    refined: bool
    """Whether that was above the threshold, so that the refined mask was used."""


def photo_regions(
    regions: Regions, iou: np.ndarray, iou_threshold: float, names: tuple[str, ...], photo_hw: tuple[int, int]
) -> tuple[Region, ...]:
    """Regions at half resolution, told in the photo's pixels: a box covers every pixel that its half-size pixels do."""
    (h, w), (dh, dw) = photo_hw, regions.ids.shape
    found = []
    for index in range(len(regions)):
        x0, y0, x1, y1 = (int(value) for value in regions.box_xyxy[index])
        x, y = (int(value) for value in regions.point_xy[index])
        label = int(regions.class_index[index])
        found.append(
            Region(
                class_index=label,
                class_name=names[label],
                area=round(int(regions.area[index]) * h * w / (dh * dw)),
                box_xyxy=(x0 * w // dw, y0 * h // dh, ((x1 + 1) * w - 1) // dw, ((y1 + 1) * h - 1) // dh),
                point_xy=((2 * x + 1) * w // (2 * dw), (2 * y + 1) * h // (2 * dh)),
                score=float(regions.score[index]),
                iou=float(iou[index]),
                refined=bool(iou[index] > iou_threshold),
            )
        )
    return tuple(found)
