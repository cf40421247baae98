"""The trial of `bench` and `calibrate`: points are prompted, and found again on the photo moved to the side, twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...answers.result import Result
from ...bundle.bundle import Bundle
from ...photo.reading import Photo, as_photo
from ...words.vocabulary import Vocabulary
from ..engines import Engines
from ..wordless import WordlessTrial
from .answers import Tracked
from .tracker import STAGES, Tracker

PLACES = ((0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.5, 0.75))
"""Where the points are, as shares of width and height."""
SHIFT = 0.03
"""How far each frame is moved against the one before, as a share of the width."""
MOVES = 2
"""Frames after the one that is prompted. The last of them reads the memory of a tracked frame too."""


class TrackTrial(WordlessTrial):
    """Makes frames of a photo, and labels the pixels of the last with the objects that it tracks there."""

    NAMES = ("nothing", *(f"object {index + 1}" for index in range(len(PLACES))))

    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        settings = self.manifest.recipe.family.override(self.parameters, parameters)
        sessions = {stage: self.engines[stage] for stage in STAGES}
        running = threading.Semaphore(engines)

        def segment(photo: Photo) -> Result:
            tracker = Tracker(self.manifest.dimensions, sessions, settings, self.engines.turn)
            image = as_photo(photo, settings.max_pixels)
            with running:
                found = moved_frames(tracker, image)
            labels = found.labels().astype(np.uint16)
            scores = (labels > 0).astype(np.float32)
            return Result(
                labels,
                labels,
                scores,
                self.NAMES,
                (),
                found.timings,
                image,
                self.backend,
                self.precision,
                background=True,
            )

        return segment


def moved_frames(tracker: Tracker, photo: np.ndarray) -> Tracked:
    """Prompt points on a photo, [H, W, 3] uint8 RGB, and track them on the same one moved to the side: the last."""
    height, width = photo.shape[:2]
    for key, (x, y) in enumerate(PLACES):
        tracker.prompt(photo, key + 1, points=[[x * width, y * height]])
    found = tracker.step(photo)
    for move in range(1, MOVES + 1):
        found = tracker.step(np.roll(photo, move * max(1, round(SHIFT * width)), axis=1))
    return found


def open_trial(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> TrackTrial:
    """The trial of a bundle."""
    engines.open(STAGES)
    return TrackTrial(bundle, engines, bundle.recipe.override(parameters))
