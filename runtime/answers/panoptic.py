"""COCO's panoptic form: a picture of segments' ids, and what each is.

An id is R + 256 G + 65536 B; 0 is what belongs to no segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ParameterError, one_of
from .coco import categories, category_id, image
from .instance import Instance, Subject

SCHEMA = "ovdeploy/panoptic/1"


class Panoptic(NamedTuple):
    """A photo's panoptic annotation."""

    document: dict[str, Any]
    """COCO's panoptic JSON, of one photo."""
    ids: np.ndarray
    """[H, W, 3] uint8 RGB, the picture of ids."""


def panoptic(subject: Subject, instances: Sequence[Instance], file_name: str, stuff: Sequence[str] = ()) -> Panoptic:
    """A photo's panoptic annotation. Where instances overlap, the one of the largest score is on top.

    Args:
        subject: what the instances are of.
        instances: each is a segment of its own id, but of stuff.
        file_name: of the picture of ids, for the document.
        stuff: names of classes that are one segment each, however many parts they have, such as the sky.

    Raises:
        ParameterError: there is no such class.
    """
    for name in stuff:
        if name not in subject.names:
            raise ParameterError(one_of("class", name, subject.names))
    first: dict[int, int] = {}
    segment_of = {each.id: _segment(each, stuff, first) for each in instances}
    ids = _painted(subject, instances, segment_of)
    classes = {segment_of[each.id]: each.class_index for each in instances}
    annotation = {"image_id": 1, "file_name": file_name, "segments_info": _segments(ids, classes)}
    document = {
        "info": subject.head(SCHEMA),
        "images": [image(subject)],
        "annotations": [annotation],
        "categories": [
            {**each, "supercategory": each["name"], "isthing": int(each["name"] not in stuff)}
            for each in categories(subject)
        ],
    }
    channels = np.ascontiguousarray(ids.T).astype("<u4").view(np.uint8).reshape(*subject.hw, 4)
    return Panoptic(document, np.ascontiguousarray(channels[..., :3]))


def _segment(instance: Instance, stuff: Sequence[str], first: dict[int, int]) -> int:
    """The id of an instance's segment; `first` has, for each class of stuff, the first of its instances."""
    return first.setdefault(instance.class_index, instance.id) if instance.class_name in stuff else instance.id


def _painted(subject: Subject, instances: Sequence[Instance], segment_of: dict[int, int]) -> np.ndarray:
    """[W, H] uint32: the segment that each pixel belongs to, column by column."""
    height, width = subject.hw
    pixels = np.zeros(width * height, np.uint32)
    for instance in sorted(instances, key=lambda each: each.score):
        segment = segment_of[instance.id]
        starts, ends = instance.mask.runs
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            pixels[start:end] = segment
    return pixels.reshape(width, height)


def _segments(ids: np.ndarray, classes: dict[int, int]) -> list[dict[str, Any]]:
    """What is said of every segment that is seen, by its pixels in `ids`, [W, H]."""
    if not classes:
        return []
    width, height = ids.shape
    flat = ids.reshape(-1)
    start = np.flatnonzero(np.diff(flat, prepend=flat[0] + 1))
    start = np.union1d(start, np.arange(0, flat.size, height))  # runs end where columns do
    length, of_run = np.diff(start, append=flat.size), flat[start]
    count = max(classes) + 1
    x, y = np.divmod(start, height)
    area = np.bincount(of_run, length, count).astype(int)
    least, most = np.full((2, count), max(width, height)), np.full((2, count), -1)
    for row, (lower, upper) in enumerate(((x, x), (y, y + length - 1))):
        np.minimum.at(least[row], of_run, lower)
        np.maximum.at(most[row], of_run, upper)
    sizes = most - least + 1
    return [
        {
            "id": segment,
            "category_id": category_id(classes[segment]),
            "area": int(area[segment]),
            "bbox": [int(value) for value in (*least[:, segment], *sizes[:, segment])],
            "iscrowd": 0,
        }
        for segment in sorted(classes)
        if area[segment]
    ]
