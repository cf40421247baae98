"""A dataset and predictors without files or engines, for tests of the evaluation. Also run by itself, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ovdeploy.runtime import DatasetError, EngineError, PhotoError
from ovdeploy.runtime.datasets import IGNORED, Sample
from ovdeploy.runtime.evaluation.journal import Journal
from ovdeploy.runtime.evaluation.predictors import Predicted
from ovdeploy.runtime.evaluation.run import evaluate

CLASSES = ("background", "cup", "table", "spoon")


class NoiseDataset:
    """Random photos; those whose number ends in the digits of `bad` cannot be read."""

    title, classes, entries, background = "noise", CLASSES, CLASSES, True
    groups = {"things": (1, 3)}  # noqa: RUF012
    identity: dict[str, Any] = {"name": "noise"}  # noqa: RUF012

    def __init__(self, photos: int, hw: tuple[int, int] = (12, 16), bad: dict[str, type[Exception]] | None = None):
        self.names = [f"{index:04d}" for index in range(photos)]
        self._hw, self._bad = hw, bad or {}

    def read(self, name: str) -> Sample:
        if name in self._bad:
            raise self._bad[name](f"{name} is bad")
        rng = np.random.default_rng(int(name))
        blocks = rng.choice([0, 1, 2, 3, IGNORED], (self._hw[0] // 4, self._hw[1] // 4)).astype(np.uint16)
        labels = blocks.repeat(4, axis=0).repeat(4, axis=1)
        photo = rng.integers(0, 256, (*self._hw, 3), np.uint8)
        return Sample(photo, labels)


class NoisePredictor:
    """The labels, with a share of wrong pixels that depends on the photo alone."""

    def __init__(self, seed: int = 0, kinds: tuple[str, ...] = ("refined", "coarse"), fails: tuple[int, ...] = ()):
        self._seed, self._kinds, self._fails = seed, kinds, fails
        self.identity = {"seed": seed}
        self.calls = 0

    def predict(self, sample: Sample) -> Predicted:
        self.calls += 1
        if self.calls in self._fails:
            raise EngineError(f"call {self.calls} failed")
        rng = np.random.default_rng([self._seed, int(sample.photo.sum())])
        noise = rng.integers(0, len(CLASSES), (len(self._kinds), *sample.labels.shape))
        wrong = rng.random(noise.shape) < rng.random()
        return Predicted({
            kind: np.where(wrong[k] | (sample.labels == IGNORED), noise[k], sample.labels).astype(np.uint16)
            for k, kind in enumerate(self._kinds)
        })  # fmt: skip


ERRORS = {"photo": PhotoError, "label": DatasetError}

if __name__ == "__main__":  # folder, photos: a run that a test kills
    with Journal(Path(sys.argv[1]), {"test": 1}) as opened:
        for done in evaluate(NoiseDataset(int(sys.argv[2])), {"bundle": NoisePredictor(kinds=("coarse",))}, opened):
            print(done.photo, flush=True)
