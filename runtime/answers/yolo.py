"""Ultralytics' labels for segmentation: one line an instance, `class x y x y …`, as shares of the photo's sides.

Ultralytics fills polygons through the middles of pixels, edges included (`cv2.fillPoly`), so that is what is written:
OpenCV's contours, which it fills to the mask again, pixel by pixel. Holes are joined to their exterior by cuts of no
width, since a line holds one polygon.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..boundary.arguments import public
from ..boundary.reading import to_json
from .instance import Instance, Subject
from .keyhole import keyhole
from .rle import cropped

MIDDLE = 0.25
"""Where in a pixel its point lies: readers that cut off and readers that round both come to this pixel."""

LEAST = 3
"""Points of a line; fewer would be read as a box."""


def yolo(subject: Subject, instances: Sequence[Instance]) -> str:
    """The lines of instances; a class's number is its index, without a background one less.

    Args:
        subject: what the instances are of.
        instances: each 8-connected; of one in pieces each has a line.
    """
    lines = [
        _line(each.class_index - int(subject.background), ring, subject.hw)
        for each in instances
        for ring in _contours(each)
    ]
    return "".join(f"{line}\n" for line in lines)


@public()
def yolo_data(names: Sequence[str], *, background: bool = False, images: str = "images") -> str:
    """What Ultralytics calls `data.yaml`: the classes of a folder of photos and of labels from `Result.to_yolo`.

    It lies beside the folders `images` and `labels`. (It is written as JSON, which is YAML too, and without `path`,
    which Ultralytics would look for from where it is started, not from where the file lies.)

    Args:
        names: the classes' names, as in the result.
        background: whether class 0 is the background, of which there are no labels.
        images: the folder of photos, from where the file lies; labels lie in `labels` in its place.
    """
    classes = dict(enumerate(names[int(background) :]))
    document = {"train": images, "val": images, "names": classes}
    return to_json(document, indent=1).decode() + "\n"


def _contours(instance: Instance) -> list[np.ndarray]:
    """[N, 2] for each connected piece: a closed path through the middles of its border's pixels."""
    inside = cropped(instance.mask, instance.box_xyxy)
    found, tree = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    points = [contour.reshape(-1, 2) for contour in found]
    above = np.asarray(tree).reshape(-1, 4)[:, 3].tolist()
    corner = np.array(instance.box_xyxy[:2])
    return [
        keyhole(ring, [points[hole] for hole, parent in enumerate(above) if parent == number]) + corner
        for number, ring in enumerate(points)
        if above[number] < 0
    ]


def _line(number: int, ring: np.ndarray, hw: tuple[int, int]) -> str:
    height, width = hw
    while len(ring) < LEAST:
        ring = np.concatenate([ring, ring[-1:]])
    shares = (ring + MIDDLE) / (width, height)
    return " ".join([str(number), *(f"{value:.7g}" for value in shares.reshape(-1).tolist())])
