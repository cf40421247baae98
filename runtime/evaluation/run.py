"""The run: every photo through every predictor, one entry a photo in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..answers.instance import Instance
from ..datasets.sample import IGNORED, Dataset, Sample
from ..errors import OF_ONE_PHOTO, DatasetError, ParameterError, printable
from .boundary import boundary_scores
from .journal import BUNDLE, Entry, Journal, Matched, Measured, column_name
from .metrics import confusion
from .precision import comparable, matches
from .predictors import Predictor

TURNS = 3
"""How often photos are done whose lines somebody removed while the run went on."""
Masks = dict[tuple[str, str], np.ndarray]
"""[H, W] class index by predictor and kind."""


def evaluate(
    dataset: Dataset,
    predictors: Mapping[str, Predictor],
    journal: Journal,
    *,
    keep: Callable[[str, Sample, Masks, Entry], None] = lambda name, sample, masks, entry: None,
) -> Iterator[Entry]:
    """Do the photos that are not in the journal yet.

    A photo or label map that cannot be read, or a photo on which an engine fails, becomes an entry with its error, and
    the run goes on.

    Args:
        dataset: the photos.
        predictors: by name, `BUNDLE`'s first.
        journal: takes the entries.
        keep: called with every photo's sample and masks before they are let go.

    Yields:
        The entries, after they were written.

    Raises:
        ParameterError: something else writes to the journal too.
    """
    for _ in range(TURNS):
        for name in dataset.names:
            if name not in journal.done:
                entry = _entry(dataset, predictors, name, keep)
                journal.add(entry)
                yield entry
        if not journal.lost():
            return
    raise ParameterError("the journal is altered by something else all the time; give another --output")


def _entry(
    dataset: Dataset, predictors: Mapping[str, Predictor], name: str, keep: Callable[[str, Sample, Masks, Entry], None]
) -> Entry:
    """A photo through every predictor."""
    try:
        if name != printable(name):
            raise DatasetError(f"{printable(name)}: the name is not UTF-8; rename the file")
        sample = dataset.read(name)
        masks, things, milliseconds = predict_all(predictors, sample)
        entry = Entry(
            photo=name, measured=measure(sample, masks, len(dataset.classes)), milliseconds=milliseconds,
            matched=match_all(sample, things),
        )  # fmt: skip
        keep(name, sample, masks, entry)
    except OF_ONE_PHOTO as error:
        entry = Entry(photo=printable(name), error=printable(error))
    return entry


def predict_all(
    predictors: Mapping[str, Predictor], sample: Sample
) -> tuple[Masks, dict[str, Sequence[Instance]], dict[str, float]]:
    """Every predictor's masks, the things of those that find some, and milliseconds."""
    masks: Masks = {}
    things: dict[str, Sequence[Instance]] = {}
    milliseconds = {}
    for name, predictor in predictors.items():
        start = time.perf_counter()
        found = predictor.predict(sample)
        milliseconds[name] = round((time.perf_counter() - start) * 1e3, 3)
        masks.update({(name, kind): mask for kind, mask in found.masks.items()})
        if found.things is not None:
            things[name] = found.things
    return masks, things, milliseconds


def match_all(sample: Sample, things: Mapping[str, Sequence[Instance]]) -> list[Matched]:
    """How every predictor's things match those of a sample; nothing where these are not known."""
    if sample.things is None:
        return []
    return [
        Matched(predictor=name, compared=compared, classes=matches(found, sample.things, compared=compared))
        for name, found in things.items()
        for compared in comparable(found)
    ]


def measure(sample: Sample, masks: Masks, classes: int) -> list[Measured]:
    """Measurements of one photo's masks."""
    counted = sample.labels != IGNORED
    return [
        Measured(
            predictor=predictor,
            kind=kind,
            cells=_cells(confusion(sample.labels, mask, classes)),
            boundary=boundary_scores(sample.labels, mask),
            agreement={
                column_name(*other): int((mask == theirs)[counted].sum())
                for other, theirs in masks.items()
                if predictor == BUNDLE and other[0] != BUNDLE and other[1] == kind
            },
        )
        for (predictor, kind), mask in masks.items()
    ]


def _cells(counts: np.ndarray) -> list[tuple[int, int, int]]:
    rows, columns = np.nonzero(counts)
    return list(zip(rows.tolist(), columns.tolist(), counts[rows, columns].tolist(), strict=True))
