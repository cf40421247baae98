"""Instances as supervision's Detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import needing
from ..geometry.limits import ARRAY, refuse_more
from .instance import Instance, Subject


def detections(subject: Subject, instances: Sequence[Instance], *, masks: bool = True) -> Any:
    """A `supervision.Detections`: boxes inclusive, as supervision's `mask_to_xyxy` has them.

    Args:
        subject: what the instances are of.
        instances: they may overlap.
        masks: whether masks are in it, [N, H, W] bool; without them it is small.

    Raises:
        MissingExtraError: supervision is not installed.
        PhotoError: the masks would be larger than an array may be.
    """
    with needing("supervision", "supervision", "Result.to_detections"):
        import supervision
    height, width = subject.hw
    count = len(instances)
    if masks:
        remedy = "Take masks=False, or leave out small ones by min_area."
        refuse_more(count * height * width, ARRAY, "the masks", remedy)
    found = supervision.Detections(
        xyxy=np.array([each.box_xyxy for each in instances], np.float32).reshape(count, 4),
        mask=_stacked(instances, (height, width)) if masks else None,
        confidence=np.array([each.score for each in instances], np.float32),
        class_id=np.array([each.class_index for each in instances], int),
        data={"class_name": np.array([each.class_name for each in instances], str)},
    )
    found.metadata = subject.head("ovdeploy/detections/1")
    return found


def _stacked(instances: Sequence[Instance], hw: tuple[int, int]) -> np.ndarray:
    stacked = np.zeros((len(instances), *hw), bool)
    for row, each in zip(stacked, instances, strict=True):
        row[:] = each.mask.decode()
    return stacked
