"""Average precision of instances, by COCO's own evaluation."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..answers.instance import Instance
from ..answers.rle import compressed
from ..errors import ParameterError, needing

MOST = 100
"""Instances of a photo that count, the surest of each class: COCO's."""


class Precision(NamedTuple):
    """How well instances match those that are there."""

    ap: float
    """Mean over the IoU thresholds 0.5 to 0.95, and over classes; NaN where nothing is there."""
    ap50: float
    """At an IoU of 0.5."""
    ap75: float
    """At an IoU of 0.75."""


def average_precision(
    found: Sequence[Sequence[Instance]], truths: Sequence[Sequence[Instance]], *, masks: bool = True
) -> Precision:
    """COCO's AP, AP50 and AP75.

    Args:
        found: of each photo, with scores.
        truths: of each photo, in the same order; their scores do not count.
        masks: whether masks are compared; if not, boxes.

    Classes of which no photo has an instance are left out, as COCO does it: what is found of them costs nothing.

    Raises:
        ParameterError: there are not as many photos as truths.
        MissingExtraError: pycocotools is not installed.
    """
    if len(found) != len(truths):
        raise ParameterError(
            f"expected instances of as many photos as there are truths, {len(truths)}, got {len(found)}"
        )
    with needing("pycocotools", "instances", "average precision"):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        truth = COCO()
        truth.dataset = _dataset(truths)
        truth.createIndex()
        rows = _rows(found)
        if not rows or not truth.dataset["annotations"]:
            return Precision(*[0.0 if truth.dataset["annotations"] else float("nan")] * 3)
        evaluation = COCOeval(truth, truth.loadRes(rows), "segm" if masks else "bbox")
        evaluation.params.maxDets = [1, 10, MOST]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Precision(*(float(value) for value in evaluation.stats[:3]))


def _dataset(truths: Sequence[Sequence[Instance]]) -> dict[str, Any]:
    """What is there, in COCO's form."""
    annotations = [{**row, "id": index + 1, "iscrowd": 0} for index, row in enumerate(_rows(truths))]
    numbers = sorted({each.class_index for photo in truths for each in photo})
    return {
        "images": [{"id": index + 1, **_size(photo)} for index, photo in enumerate(truths)],
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in numbers],
    }


def _size(instances: Sequence[Instance]) -> dict[str, int]:
    """A photo's height and width, which nobody needs where nothing is."""
    return {"height": instances[0].mask.height, "width": instances[0].mask.width} if instances else {}


def _rows(photos: Sequence[Sequence[Instance]]) -> list[dict[str, Any]]:
    """Instances of all photos as COCO has them."""
    rows = []
    for index, instances in enumerate(photos):
        for each, counts in zip(instances, compressed([one.mask for one in instances]), strict=True):
            size = [each.mask.height, each.mask.width]
            rows.append(
                {
                    "image_id": index + 1, "category_id": each.class_index, "area": each.area, "score": each.score,
                    "bbox": [float(value) for value in each.box_xywh],
                    "segmentation": {"size": size, "counts": counts},
                }
            )  # fmt: skip
    return rows
