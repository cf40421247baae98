"""Small folders in the benchmarks' layouts, and what their values mean, said anew and plainly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HW = (21, 30)
UNUSED_COCO = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
CITYSCAPES = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13,
              27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


class Layout(NamedTuple):
    """How a benchmark lies on disk."""

    dataset: str
    photo: str
    label: str
    values: tuple[int, ...]
    """That may occur in its label maps."""
    meaning: Callable[[int], int | None]
    """The class index of a value; None for a pixel that does not count."""
    listed: str | None = None
    names: tuple[str, ...] = ("2007_000033", "2008_000123")
    mode: str = "L"


def _identity(value: int) -> int | None:
    return None if value == 255 else value


def _less_one(value: int) -> int | None:
    return None if value in (0, 255) else value - 1


def _coco(value: int) -> int | None:
    return None if value == 255 else value - sum(unused < value for unused in UNUSED_COCO)


def _coco_things(value: int) -> int:
    return 0 if value > 90 else 1 + value - sum(unused < value for unused in UNUSED_COCO)


RAW_COCO = tuple(value for value in range(182) if value not in UNUSED_COCO)
VOC = ("JPEGImages/{}.jpg", "SegmentationClass/{}.png")
CONTEXT = ("JPEGImages/{}.jpg", "SegmentationClassContext/{}.png")
COCO_NAMES = ("000000000139", "000000000285")
CITY_NAMES = ("frankfurt/frankfurt_000000_000294", "munster/munster_000000_000019")
VOC_LIST, CONTEXT_LIST = "ImageSets/Segmentation/val.txt", "ImageSets/SegmentationContext/val.txt"
CITY_PHOTO, CITY_LABEL = "leftImg8bit/val/{}_leftImg8bit.png", "gtFine/val/{}_gtFine_"
COCO_PHOTO, COCO_LABEL = "images/val2017/{}.jpg", "annotations/val2017/{}"

LAYOUTS = {
    "voc20": Layout("voc20", *VOC, (*range(21), 255), _less_one, VOC_LIST, mode="P"),
    "voc21": Layout("voc21", *VOC, (*range(21), 255), _identity, VOC_LIST, mode="P"),
    "context59": Layout("context59", *CONTEXT, tuple(range(60)), _less_one, CONTEXT_LIST),
    "context60": Layout("context60", *CONTEXT, (*range(60), 255), _identity, CONTEXT_LIST),
    "coco-object": Layout("coco-object", COCO_PHOTO, f"{COCO_LABEL}_instanceTrainIds.png", (*range(81), 255),
                          _identity, names=COCO_NAMES),
    "coco-object, original": Layout("coco-object", COCO_PHOTO, f"{COCO_LABEL}.png", (*RAW_COCO, 255), _coco_things,
                                    names=COCO_NAMES),
    "coco-stuff": Layout("coco-stuff", COCO_PHOTO, f"{COCO_LABEL}_labelTrainIds.png", (*range(171), 255), _identity,
                         names=COCO_NAMES),
    "coco-stuff, original": Layout("coco-stuff", "val2017/{}.jpg", "stuffthingmaps/val2017/{}.png", (*RAW_COCO, 255),
                                   _coco, names=COCO_NAMES),
    "ade20k": Layout("ade20k", "images/validation/{}.jpg", "annotations/validation/{}.png", tuple(range(151)),
                     _less_one, names=("ADE_val_00000001", "ADE_val_00000002")),
    "cityscapes": Layout("cityscapes", CITY_PHOTO, f"{CITY_LABEL}labelTrainIds.png", (*range(19), 255), _identity,
                         names=CITY_NAMES),
    "cityscapes, original": Layout("cityscapes", CITY_PHOTO, f"{CITY_LABEL}labelIds.png", tuple(range(34)),
                                   CITYSCAPES.get, names=CITY_NAMES),
}  # fmt: skip


def make_layout(root: Path, layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """Write random photos and label maps; return what the label maps mean, [H, W] object: an index or None."""
    rng = np.random.default_rng(seed)
    meant = {}
    for name in layout.names:
        blocks = rng.choice(layout.values, (HW[0] // 3, HW[1] // 3)).astype(np.uint8)
        values = blocks.repeat(3, axis=0).repeat(3, axis=1)
        write_image(root / layout.photo.format(name), rng.integers(0, 256, (*HW, 3), np.uint8))
        write_image(root / layout.label.format(name), values, layout.mode)
        meant[name] = np.array([[layout.meaning(int(value)) for value in row] for row in values], object)
    if layout.listed:
        (root / layout.listed).parent.mkdir(parents=True)
        (root / layout.listed).write_text("\n".join(layout.names) + "\n")
    return meant


def write_image(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = Image.fromarray(pixels, mode="P")
        image.putpalette(np.arange(768, dtype=np.uint8)[::-1].tobytes())
    image.save(path)
