"""Answers: what comes of a photo, in memory and in the forms that other tools read.

from ovdeploy.runtime.answers import save_as
save_as(result, ["mask", "json"], "results/cat")  # results/cat.mask.png, results/cat.json
"""

from __future__ import annotations

from .instance import Instance, Subject
from .joining import join_coco
from .kinds import KINDS, Kind, check_kinds, kind_named, paths_of, save_as
from .panoptic import Panoptic
from .polygons import Outline, Polygon
from .rle import Rle
from .yolo import yolo_data

__all__ = [
    "KINDS",
    "Instance",
    "Kind",
    "Outline",
    "Panoptic",
    "Polygon",
    "Rle",
    "Subject",
    "check_kinds",
    "join_coco",
    "kind_named",
    "paths_of",
    "save_as",
    "yolo_data",
]
