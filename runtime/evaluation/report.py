"""Files that a run leaves behind: results as JSON, and tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..datasets.sample import Dataset
from ..files import write_bytes
from .journal import BUNDLE, column_name
from .metrics import class_accuracy, class_iou, mean_known
from .precision import MASKS, precision_of, precisions
from .summary import Summary, Totals

SCHEMA = "ovdeploy/evaluation/1"
RESULTS, PHOTOS, CLASSES = "results.json", "photos.csv", "classes.csv"


def results(dataset: Dataset, summary: Summary, identity: dict[str, Any]) -> dict[str, Any]:
    """All figures as plain values; shares lie in [0, 1], what is undefined is None.

    Args:
        dataset: names the classes and groups.
        summary: of the run.
        identity: of the run.
    """
    named = {
        "schema": SCHEMA,
        "dataset": dataset.title,
        "photos": len(summary.photos) - len(summary.failed),
        "failed": len(summary.failed),
        "columns": {column: figures_of(dataset, totals) for column, totals in summary.columns.items()},
        "differences": differences(summary),
        "things": things_rows(dataset, summary),
        "milliseconds": summary.milliseconds,
        "classes": class_rows(dataset, summary),
        "run": identity,
    }
    plain: dict[str, Any] = _without_nan(named)
    return plain


def figures_of(dataset: Dataset, totals: Totals) -> dict[str, Any]:
    """The figures of a column, and the mean IoU of the dataset's groups of classes."""
    iou = class_iou(totals.counts)
    return {**totals.figures(), "groups": {name: mean_known(iou[list(of)]) for name, of in dataset.groups.items()}}


def differences(summary: Summary) -> list[dict[str, Any]]:
    """Gains of the bundle's masks over each rival's of the same kind, or over its only ones: bundle less rival.

    `agreement` is the share of counted pixels on which both say the same, where the kinds are the same.
    """
    own = {column: totals for column, totals in summary.columns.items() if totals.predictor == BUNDLE}
    rivals = {totals.predictor: None for totals in summary.columns.values() if totals.predictor != BUNDLE}
    found = []
    for rival in rivals:
        theirs = {column: totals for column, totals in summary.columns.items() if totals.predictor == rival}
        for column, totals in own.items():
            same = column_name(rival, column)
            other = same if same in theirs else next(iter(theirs))
            figures, against = totals.figures(), theirs[other].figures()
            gains: dict[str, Any] = {name: value - against[name] for name, value in figures.items()}
            if other in totals.agreement:
                gains["agreement"] = totals.agreement[other] / max(int(totals.counts.sum()), 1)
            found.append({"column": column, "against": other, **gains})
    return found


def things_rows(dataset: Dataset, summary: Summary) -> list[dict[str, Any]]:
    """The average precision of every predictor's things, by what was compared; `classes` has that of each class.

    `less` has the bundle's figures less a rival's. What could not be compared in some photo is left out.
    """
    found: list[dict[str, Any]] = []
    for (predictor, compared), photos in summary.matched.items():
        if len(photos) < len(summary.matched[predictor, MASKS]):
            continue  # a photo without instances seems to have a detector's boxes, and others show that there are none
        classes = precisions(photos)
        figures = precision_of(classes.values())._asdict()
        own = next((row for row in found if row["predictor"] == BUNDLE and row["compared"] == compared), None)
        less = {"less": {name: own[name] - value for name, value in figures.items()}} if own else {}
        of_classes = {dataset.classes[number]: float(made[0].mean()) for number, made in classes.items()}
        found.append({"predictor": predictor, "compared": compared, **figures, **less, "classes": of_classes})
    return found


def class_rows(dataset: Dataset, summary: Summary) -> list[dict[str, Any]]:
    """Every class: its pixels in the labels, and in every column its IoU, accuracy and boundary F-score."""
    rows: list[dict[str, Any]] = [{"class": name} for name in dataset.classes]
    for column, totals in summary.columns.items():
        figures = {
            "iou": class_iou(totals.counts),
            "accuracy": class_accuracy(totals.counts),
            "boundary_f": totals.class_boundary,
        }
        for index, row in enumerate(rows):
            row.setdefault("pixels", int(totals.counts[index].sum()))
            row.update({f"{column} {name}": float(values[index]) for name, values in figures.items()})
    return rows


def write_report(folder: Path, dataset: Dataset, summary: Summary, identity: dict[str, Any]) -> dict[str, Any]:
    """Write `results.json`, `photos.csv`, `classes.csv` and a `confusion-COLUMN.csv` for every column.

    Returns:
        The results.
    """
    found = results(dataset, summary, identity)
    write_bytes(folder / RESULTS, msgspec.json.format(msgspec.json.encode(found), indent=1))
    write_csv(folder / PHOTOS, [{"photo": name, **row} for name, row in summary.photos.items()])
    write_csv(folder / CLASSES, found["classes"])
    for column, totals in summary.columns.items():
        rows = zip(dataset.classes, totals.counts.tolist(), strict=True)
        _write_rows(
            folder / f"confusion-{file_name(column)}.csv",
            [["label \\ called", *dataset.classes], *([name, *row] for name, row in rows)],
        )
    return found


def file_name(column: str) -> str:
    """A column's name as a part of a file's."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in column)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows under the union of their keys, in the order in which these come up; None and NaN are left empty."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    _write_rows(path, [header, *([_cell(row.get(key)) for key in header] for row in rows)])


def _write_rows(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else value


def _without_nan(value: Any) -> Any:
    """The same plain values, None in place of NaN (JSON has no NaN)."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
