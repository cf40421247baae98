"""Single things of a label map, where nobody parted them: the connected parts of each class."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

from .sample import Thing


def parts_of(labels: np.ndarray, classes: Collection[int], least: int = 1) -> tuple[Thing, ...]:
    """The 8-connected parts of some classes, in the order of classes.

    Args:
        labels: [H, W] class index.
        classes: of which there are single things; others are stuff.
        least: smaller parts are left out, in pixels.
    """
    found = []
    for number in (each for each in np.unique(labels).tolist() if each in classes):
        _, parts, stats, _ = cv2.connectedComponentsWithStats((labels == number).astype(np.uint8))
        for index, (x0, y0, width, height, area) in enumerate(stats.astype(float).tolist()):
            if index and area >= least:  # 0 is all else
                found.append(Thing(number, parts == index, area, (x0, y0, width, height)))
    return tuple(found)
