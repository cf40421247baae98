"""The worst photos of a run, as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..datasets.sample import Dataset, Sample
from ..errors import OF_ONE_PHOTO
from .journal import BUNDLE, Entry, column_name
from .pictures import draw_comparison, save
from .predictors import Predictor
from .run import Masks, predict_all
from .summary import Summary, photo_row


class Worst:
    """Keeps the masks of the photos with the lowest mIoU so far, no more than are wanted."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._kept: dict[str, tuple[float, Masks]] = {}

    def keep(self, name: str, sample: Sample, masks: Masks, entry: Entry) -> None:
        """Take note of a photo (`run.evaluate` calls this)."""
        score = photo_row(entry, _classes(entry))[f"{entry.measured[0].column} miou"]
        if math.isnan(score):
            return
        self._kept[name] = score, {who: mask.astype(np.uint16) for who, mask in masks.items()}
        if len(self._kept) > self._wanted:
            del self._kept[max(self._kept, key=lambda each: self._kept[each][0])]

    def masks(self, name: str) -> Masks | None:
        """A photo's masks, if they were kept."""
        return self._kept[name][1] if name in self._kept else None


def worst_names(summary: Summary, wanted: int) -> list[tuple[str, float]]:
    """The photos with the lowest mIoU in the column that counts, the worst first, and that figure."""
    scores = [(row[f"{summary.main} miou"], name) for name, row in summary.photos.items() if "error" not in row]
    known = [(score, name) for score, name in scores if not math.isnan(score)]
    return [(name, score) for score, name in sorted(known)[:wanted]]


def draw_worst(
    folder: Path,
    dataset: Dataset,
    predictors: Mapping[str, Predictor],
    summary: Summary,
    worst: Worst,
    wanted: int,
) -> None:
    """Write `01-NAME.png`, … to a folder: photo, labels, and every predictor's first mask.

    Masks that were not kept, because an earlier process did the photo, are made again. Pictures of an earlier end of
    the run are removed.
    """
    for old in folder.glob("*.png"):
        old.unlink()
    for place, (name, score) in enumerate(worst_names(summary, wanted), start=1):
        try:
            sample = dataset.read(name)
            masks = worst.masks(name) or predict_all(predictors, sample)[0]
        except OF_ONE_PHOTO:  # it could be read before; the figures stand
            continue
        title = f"{name}: mIoU {100 * score:.1f}"
        picture = draw_comparison(sample, _first_masks(masks), dataset.classes, title)
        save(picture, folder / f"{place:02d}-{Path(name).name}.png")


def _first_masks(masks: Masks) -> dict[str, np.ndarray]:
    """Every predictor's first mask, by its column."""
    first: dict[str, str] = {}
    for predictor, kind in masks:
        first.setdefault(predictor, kind)
    order = sorted(first, key=lambda predictor: predictor != BUNDLE)
    return {column_name(predictor, first[predictor]): masks[predictor, first[predictor]] for predictor in order}


def _classes(entry: Entry) -> int:
    """As many classes as the entry speaks of; the mean does not depend on those that do not occur."""
    return 1 + max((max(truth, called) for each in entry.measured for truth, called, _ in each.cells), default=0)
