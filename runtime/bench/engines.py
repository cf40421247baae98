"""A bundle's engines as a runner."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..pipelines.base import Segmenter, open_trial
from ..words.vocabulary import Vocabulary
from .plan import Outcome, RunnerSpec


@contextmanager
def open_engines(spec: RunnerSpec) -> Iterator[EngineRunner]:
    """Open the engines of one backend and precision.

    Raises:
        BundleError: the bundle is missing, damaged or lacks a stage.
        EngineError: the backend does not work here.
        ParameterError: an override cannot be used.
    """
    with open_trial(
        spec.bundle, backend=spec.backend, precision=spec.precision, threads=spec.threads, parameters=spec.parameters
    ) as segmenter:
        yield EngineRunner(segmenter)


class EngineRunner:
    """A segmenter, measured from outside."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def run(self, photo: np.ndarray, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None = None) -> Outcome:
        """Segment [H, W, 3] uint8 RGB once."""
        with self._segmenter.engines.counted() as calls:
            start = time.perf_counter()
            result = self._segmenter.segment(photo, vocabulary, parameters=parameters)
            milliseconds = (time.perf_counter() - start) * 1e3
        steps = {name: value for name, value in result.timings.items() if name != "total"}
        asked = result.regions if result.things is None else result.things
        return Outcome(milliseconds, steps, result.mask, result.coarse_mask, len(asked), calls)

    def embed(self, classes: Sequence[str] | None, background: bool | None) -> Vocabulary:
        """Class names (the recipe's, if None) with their embeddings."""
        return self._segmenter.vocabulary(classes, background=background)

    def loop(self, photos: Sequence[Path], vocabulary: Vocabulary) -> tuple[float, list[np.ndarray]]:
        """Segment files one after another: seconds, and their masks."""
        start = time.perf_counter()
        masks = [self._segmenter.segment(photo, vocabulary).mask for photo in photos]
        return time.perf_counter() - start, masks

    def many(
        self, photos: Sequence[Path], vocabulary: Vocabulary, workers: int | None
    ) -> tuple[float, list[np.ndarray]]:
        """The same by `segment_many`.

        Raises:
            OvdeployError: a photo failed.
        """
        masks: list[np.ndarray] = []
        start = time.perf_counter()
        for result in self._segmenter.segment_many(photos, vocabulary, workers=workers):
            if isinstance(result, Exception):  # one bad photo does not stop the others, but it spoils the figure
                raise result
            masks.append(result.mask)
        return time.perf_counter() - start, masks
