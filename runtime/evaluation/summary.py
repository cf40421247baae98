"""From a journal to figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..datasets.sample import Dataset
from .journal import Entry, Measured
from .metrics import class_accuracy, class_iou, mean_known, pixel_accuracy
from .precision import Matches


class Totals:
    """The sums over photos of one column.

    Attributes:
        predictor: whose masks they are.
        counts: [C, C] int64, the confusion of all photos together.
        agreement: pixels equal in a rival's mask of the same kind, by the rival's column.
    """

    def __init__(self, predictor: str, classes: int) -> None:
        self.predictor = predictor
        self.counts = np.zeros((classes, classes), np.int64)
        self.agreement: dict[str, int] = {}
        self._class_scores, self._class_photos = np.zeros(classes), np.zeros(classes, np.int64)
        self._photo_scores, self._photos = 0.0, 0

    def add(self, measured: Measured) -> None:
        """Add a photo."""
        for truth, called, pixels in measured.cells:
            self.counts[truth, called] += pixels
        for index, score in measured.boundary.items():
            self._class_scores[index] += score
            self._class_photos[index] += 1
        if measured.boundary:
            self._photo_scores += photo_boundary(measured)
            self._photos += 1
        for column, pixels in measured.agreement.items():
            self.agreement[column] = self.agreement.get(column, 0) + pixels

    @property
    def class_boundary(self) -> np.ndarray:
        """[C] boundary F-score of every class, the mean over the photos in which it has a boundary; else NaN."""
        scores = np.full(len(self.counts), np.nan)
        np.divide(self._class_scores, self._class_photos, out=scores, where=self._class_photos > 0)
        return scores

    @property
    def boundary(self) -> float:
        """Mean over photos of the boundary F-score; NaN without boundaries."""
        return self._photo_scores / self._photos if self._photos else float("nan")

    def figures(self) -> dict[str, float]:
        """The figures of a column, as shares."""
        return {
            "miou": mean_known(class_iou(self.counts)),
            "accuracy": pixel_accuracy(self.counts),
            "mean_accuracy": mean_known(class_accuracy(self.counts)),
            "boundary_f": self.boundary,
        }


@dataclass
class Summary:
    """The outcome of a run.

    Attributes:
        columns: totals by column; the bundle's come first, and of these the one that counts.
        photos: figures of every photo, in the dataset's order; those that failed have an `error`.
        milliseconds: means by predictor.
        matched: how things were matched, photo by photo, by predictor and what was compared.
    """

    columns: dict[str, Totals] = field(default_factory=dict)
    photos: dict[str, dict[str, Any]] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)
    matched: dict[tuple[str, str], list[list[Matches]]] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The column that counts; there is one as soon as a photo was done."""
        return next(iter(self.columns))

    @property
    def failed(self) -> dict[str, str]:
        """Errors by photo."""
        return {name: row["error"] for name, row in self.photos.items() if row.get("error")}


def summarise(dataset: Dataset, entries: Iterable[Entry]) -> Summary:
    """Add up the entries of the dataset's photos.

    Args:
        dataset: names the photos; entries of others are passed over.
        entries: a journal's; of a photo's entries the first that was done counts, else the last that failed. Sums are
            taken in their order; that of `Journal.entries_of` is the dataset's, whenever each was done.
    """
    summary = Summary(photos={name: {} for name in dataset.names})
    spent: dict[str, list[float]] = {}
    for entry in entries:
        row = summary.photos.get(entry.photo)
        if row is None or (row and not row.get("error")):
            continue
        summary.photos[entry.photo] = photo_row(entry, len(dataset.classes))
        if entry.error is None:
            _add(summary, entry, len(dataset.classes), spent)
    summary.photos = {name: row for name, row in summary.photos.items() if row}
    summary.milliseconds = {name: sum(values) / len(values) for name, values in spent.items()}
    return summary


def _add(summary: Summary, entry: Entry, classes: int, spent: dict[str, list[float]]) -> None:
    for measured in entry.measured:
        summary.columns.setdefault(measured.column, Totals(measured.predictor, classes)).add(measured)
    for each in entry.matched:
        summary.matched.setdefault((each.predictor, each.compared), []).append(each.classes)
    for name, value in entry.milliseconds.items():
        spent.setdefault(name, []).append(value)


def photo_row(entry: Entry, classes: int) -> dict[str, Any]:
    """A photo's figures: `miou`, `accuracy` and `boundary_f` of every column, milliseconds of every predictor."""
    if entry.error is not None:
        return {"error": entry.error}
    row: dict[str, Any] = {}
    for measured in entry.measured:
        totals = Totals(measured.predictor, classes)
        totals.add(measured)
        row.setdefault("pixels", int(totals.counts.sum()))
        figures = totals.figures()
        row.update({f"{measured.column} {name}": figures[name] for name in ("miou", "accuracy", "boundary_f")})
    return {**row, **{f"{name} ms": value for name, value in entry.milliseconds.items()}}


def photo_boundary(measured: Measured) -> float:
    """The boundary F-score of one photo: the mean over its classes."""
    return sum(measured.boundary.values()) / len(measured.boundary)
