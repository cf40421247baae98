"""Average precision of instances, as COCO has it.

pycocotools matches what was found with what is there, photo by photo. What it says of a photo is a few numbers, which a
journal keeps; the precision of many photos follows from these alone, by the formulas of `COCOeval.accumulate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..answers.instance import Instance
from ..answers.rle import Rle, compressed
from ..datasets.sample import Thing
from ..errors import ParameterError, needing, one_of

MOST = 100
"""Instances of a photo that count, the surest of each class: COCO's."""

SIZES = ("all", "small", "medium", "large")
"""COCO's ranges of area: below 32², below 96², and the rest. A thing of another size counts neither way."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Of the IoU."""

RECALLS = np.linspace(0, 1, 101)
"""At which precision is read."""

MASKS, BOXES, DETECTED = "masks", "boxes", "detected"

Box = Sequence[float]
"""x₀, y₀, width, height in pixels."""

COMPARED: Mapping[str, Callable[[Instance], Box | None]] = {
    MASKS: lambda each: each.box_xywh,
    BOXES: lambda each: each.box_xywh,
    DETECTED: lambda each: detected_xywh(each),
}
"""What of instances is compared with things: their masks, the boxes around these masks, or the boxes in which a
detector saw them, before there was a mask. With each the box that COCO is told, None of an instance that has none."""

Flags = tuple[int, ...]
"""A number for each instance, whose bit t is about the threshold t."""


class Matches(msgspec.Struct, frozen=True, array_like=True):
    """What COCO says of one class in one photo. The fields about sizes have an item for each of `SIZES`."""

    class_index: int
    there: tuple[int, ...]
    """Things that count."""
    scores: tuple[float, ...]
    """Of what was found, the surest first."""
    right: tuple[Flags, ...]
    """Whether each of these is matched with a thing."""
    aside: tuple[Flags, ...]
    """Whether it counts neither way, being of another size or in a crowd."""


class Precision(NamedTuple):
    """How well instances match those that are there: shares, NaN where nothing is there."""

    ap: float
    """Mean over the IoU thresholds 0.5 to 0.95, and over classes."""
    ap50: float
    """At an IoU of 0.5."""
    ap75: float
    """At an IoU of 0.75."""
    small: float
    """As `ap`, of things below 32² pixels."""
    medium: float
    """Likewise, below 96²."""
    large: float
    """Likewise, of the others."""


def detected_xywh(instance: Instance) -> Box | None:
    """The box in which a detector saw an instance, as it is: it may stick out of the photo. None where none did."""
    corners = getattr(instance, "detected_xyxy", None)
    if corners is None:
        return None
    x0, y0, x1, y1 = map(float, corners)
    return x0, y0, x1 - x0, y1 - y0


def comparable(found: Sequence[Instance]) -> list[str]:
    """What of instances can be compared: keys of `COMPARED`. Of none, everything can."""
    return [name for name, box_of in COMPARED.items() if all(box_of(each) is not None for each in found)]


def matches(found: Sequence[Instance], there: Sequence[Thing], *, compared: str = MASKS) -> list[Matches]:
    """Match the instances of one photo with its things, class by class.

    These are the steps of `COCO.createIndex` and `COCOeval.evaluate` for one photo. Both print, and to silence that
    would silence all other threads.

    Args:
        found: with scores; of each class the `MOST` surest count.
        there: the things, of the same classes.
        compared: a key of `COMPARED`.

    Raises:
        ParameterError: instances have not what is compared, or masks are not all of one size.
        MissingExtraError: pycocotools is not installed.
    """
    _check(found, there, compared)
    with needing("pycocotools", "instances", "average precision"):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

    classes = sorted({each.class_index for each in found} | {each.class_index for each in there})
    if not classes:
        return []
    sides = []
    for rows in (_things(there), _instances(found, compared)):
        side = COCO()
        side.imgs = {1: {"id": 1, "height": 1, "width": 1}}  # sizes that masks do not depend on
        side.cats = {number: {"id": number} for number in classes}
        side.dataset = {"categories": list(side.cats.values())}
        side.anns, side.imgToAnns = {row["id"]: row for row in rows}, {1: rows}
        sides.append(side)
    evaluation = COCOeval(*sides, "segm" if compared == MASKS else "bbox")
    evaluation._prepare()
    evaluation.ious = {(1, number): evaluation.computeIoU(1, number) for number in classes}
    areas = evaluation.params.areaRng
    return [_matches(number, [evaluation.evaluateImg(1, number, area, MOST) for area in areas]) for number in classes]


def _matches(number: int, sizes: Sequence[Any]) -> Matches:
    """From what COCO keeps of a class for each range of area."""
    return Matches(
        number,
        tuple(int((np.asarray(each["gtIgnore"]) == 0).sum()) for each in sizes),
        tuple(map(float, sizes[0]["dtScores"])),
        tuple(_flags(each["dtMatches"] > 0) for each in sizes),
        tuple(_flags(each["dtIgnore"]) for each in sizes),
    )


def _flags(bits: np.ndarray) -> Flags:
    """[thresholds, N] bool → N numbers."""
    weights = 1 << np.arange(len(THRESHOLDS))
    return tuple((weights @ np.asarray(bits, np.int64)).tolist())


def precisions(photos: Sequence[Sequence[Matches]], weights: np.ndarray | None = None) -> dict[int, np.ndarray]:
    """The average precision of every class of which something is there, over photos.

    Args:
        photos: what `matches` says of each.
        weights: [photos] int, how often each counts; None means once.

    Returns:
        By class: [sizes, thresholds] float64, NaN for a size of which nothing is there.
    """
    counted = np.ones(len(photos), np.int64) if weights is None else weights
    of_class: dict[int, list[tuple[Matches, int]]] = {}
    for photo, weight in zip(photos, counted.tolist(), strict=True):
        for each in photo if weight else ():
            of_class.setdefault(each.class_index, []).append((each, weight))
    made = {number: np.stack([_of_size(of, size) for size in range(len(SIZES))]) for number, of in of_class.items()}
    return {number: made[number] for number in sorted(made) if not np.isnan(made[number]).all()}


def _of_size(told: Sequence[tuple[Matches, int]], size: int) -> np.ndarray:
    """[thresholds] of one class."""
    there = sum(each.there[size] * weight for each, weight in told)
    if not there:
        return np.full(len(THRESHOLDS), np.nan)
    scores = np.concatenate([each.scores for each, _ in told])
    order = np.argsort(-scores, kind="stable")
    weight = np.concatenate([np.full(len(each.scores), times) for each, times in told])[order]
    right, aside = (
        np.concatenate([np.asarray(flags, np.int64) for flags in of])[order] >> np.arange(len(THRESHOLDS))[:, None] & 1
        for of in ([each.right[size] for each, _ in told], [each.aside[size] for each, _ in told])
    )
    hits = np.cumsum(right * (1 - aside) * weight, axis=1)
    misses = np.cumsum((1 - right) * (1 - aside) * weight, axis=1)
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # at this recall or a higher one
    best = np.pad(best, ((0, 0), (0, 1)))  # 0 at recalls that are never reached
    return np.array(
        [row[np.searchsorted(recall, RECALLS)].mean() for row, recall in zip(best, hits / there, strict=True)]
    )


def precision_of(classes: Iterable[np.ndarray]) -> Precision:
    """The means over classes of what `precisions` gives."""
    made = np.stack([np.full((len(SIZES), len(THRESHOLDS)), np.nan), *classes])
    known = np.isfinite(made)
    means = np.divide(
        np.where(known, made, 0).sum(0), known.sum(0), out=np.full(made.shape[1:], np.nan), where=known.any(0)
    )
    whole = means.mean(axis=1)
    return Precision(float(whole[0]), float(means[0, 0]), float(means[0, 5]), *map(float, whole[1:]))


def average_precision(
    found: Sequence[Sequence[Instance]], truths: Sequence[Sequence[Thing]], *, compared: str = MASKS
) -> Precision:
    """COCO's AP, AP50 and AP75, and AP by size.

    Args:
        found: of each photo, with scores.
        truths: of each photo, in the same order.
        compared: a key of `COMPARED`.

    Classes of which no photo has a thing are left out, as COCO does it: what is found of them costs nothing.

    Raises:
        ParameterError: there are not as many photos as truths, instances have not what is compared, or the masks of a
            photo are not all of one size.
        MissingExtraError: pycocotools is not installed.
    """
    if len(found) != len(truths):
        raise ParameterError(
            f"expected instances of as many photos as there are truths, {len(truths)}, got {len(found)}"
        )
    told = [matches(one, other, compared=compared) for one, other in zip(found, truths, strict=True)]
    return precision_of(precisions(told).values())


def _check(found: Sequence[Instance], there: Sequence[Thing], compared: str) -> None:
    sizes = {(each.mask.height, each.mask.width) for each in found} | {each.mask.shape[:2] for each in there}
    if len(sizes) > 1:  # pycocotools would say an IoU of -1, and nothing else
        told = ", ".join(f"{width}×{height}" for height, width in sorted(sizes))
        raise ParameterError(
            f"expected masks of one size in a photo, as found and as they are there; got {told}. Resize one side"
        )
    if compared not in COMPARED:
        raise ParameterError(one_of("comparison", compared, COMPARED))
    if compared not in comparable(found):
        raise ParameterError(
            f"expected instances with a box of a detector (detected_xyxy), got some without; compare {MASKS} or {BOXES}"
        )


def _things(things: Sequence[Thing]) -> list[dict[str, Any]]:
    """What is there, as COCO has it."""
    texts = compressed([Rle.encode(each.mask) for each in things])
    return [
        {
            "id": index + 1, "image_id": 1, "category_id": each.class_index, "area": each.area,
            "iscrowd": int(each.crowd), "bbox": list(each.box_xywh),
            "segmentation": {"size": list(each.mask.shape), "counts": text},
        }
        for index, (each, text) in enumerate(zip(things, texts, strict=True))
    ]  # fmt: skip


def _instances(instances: Sequence[Instance], compared: str) -> list[dict[str, Any]]:
    """What was found, as COCO has it: the area is that of what is compared."""
    boxes = [COMPARED[compared](each) or () for each in instances]
    texts = compressed([each.mask for each in instances])
    return [
        {
            "id": index + 1, "image_id": 1, "category_id": each.class_index, "score": each.score,
            "area": each.area if compared == MASKS else box[2] * box[3], "iscrowd": 0,
            "bbox": list(map(float, box)),
            "segmentation": {"size": [each.mask.height, each.mask.width], "counts": text},
        }
        for index, (each, text, box) in enumerate(zip(instances, texts, boxes, strict=True))
    ]  # fmt: skip
