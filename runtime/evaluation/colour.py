"""A baseline that has seen the answers: every pixel gets the class whose mean colour is nearest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..datasets.sample import IGNORED, Dataset, Sample
from ..errors import OF_ONE_PHOTO
from .predictors import Predicted, Predictor, Settings, to_dataset


class Colour:
    """Nearest mean colour among the classes given: RGB, Euclidean.

    The means are taken from the labels of the evaluated photos themselves, which flatters the baseline.
    """

    def __init__(self, means: np.ndarray) -> None:
        """A baseline.

        Args:
            means: [C, 3] mean RGB of every class, NaN for a class without pixels, which no pixel gets.
        """
        self._means = means
        self.identity: dict[str, Any] = {"means": [[round(value, 6) for value in mean] for mean in means.tolist()]}

    def predict(self, sample: Sample) -> Predicted:
        """One mask, of the kind `colour`."""
        given = list(range(len(self._means))) if sample.given is None else list(sample.given)
        photo = sample.photo.astype(np.float32)
        nearest = np.full(photo.shape[:2], np.inf, np.float32)
        mask = np.zeros(photo.shape[:2], np.uint16)
        for place, mean in enumerate(self._means[given].astype(np.float32)):
            gap = np.square(photo - mean).sum(axis=2)
            closer = gap < nearest
            mask[closer], nearest[closer] = place, gap[closer]
        return Predicted({"colour": to_dataset(mask, sample)})


@contextmanager
def colour(settings: Settings) -> Iterator[Predictor]:
    """The rival `colour`: measures the mean colours in a first pass over the dataset."""
    yield Colour(mean_colours(settings.dataset))


def mean_colours(dataset: Dataset) -> np.ndarray:
    """Mean RGB of every class over all photos that can be read: [C, 3] float64, NaN for a class without pixels."""
    classes = len(dataset.classes)
    sums, counts = np.zeros((classes, 3)), np.zeros(classes)
    for name in dataset.names:
        try:
            sample = dataset.read(name)
        except OF_ONE_PHOTO:
            continue  # the run tells of it
        counted = sample.labels != IGNORED
        labels, pixels = sample.labels[counted], sample.photo[counted]
        counts += np.bincount(labels, minlength=classes)
        sums += np.stack([np.bincount(labels, pixels[:, k], classes) for k in range(3)], axis=1)
    return np.divide(sums, counts[:, None], out=np.full_like(sums, np.nan), where=counts[:, None] > 0)
