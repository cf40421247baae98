"""The trial of `bench` and `calibrate` on photos: a grid of points, and their masks laid over each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...answers.result import Result
from ...bundle.bundle import Bundle
from ...photo.reading import Photo
from ...reporting import Clock
from ...words.vocabulary import Vocabulary
from ..engines import Engines
from ..prompt_input import Prompt
from ..promptable.interactive import Prompter
from ..promptable.stages import ENCODER, PROMPT_DECODER
from ..prompted import PromptedMasks
from ..wordless import WordlessTrial

SIDE = 4
"""Points along a side of the grid."""


class PromptTrial(WordlessTrial):
    """Answers a grid of points, and labels every pixel with the point whose mask SAM thinks the best there."""

    NAMES = ("nothing", *(f"point {index + 1}" for index in range(SIDE**2)))

    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        settings = self.manifest.recipe.family.override(self.parameters, parameters)
        encoder, decoder = self.engines[ENCODER], self.engines[PROMPT_DECODER]
        prompter = Prompter(self.manifest.dimensions, encoder, decoder, settings, self.engines.turn)
        running = threading.Semaphore(engines)

        def segment(photo: Photo) -> Result:
            clock = Clock()
            with running:
                encoded = prompter.encode(photo)
                hw = (encoded.photo.shape[0], encoded.photo.shape[1])
                with clock(decoder.contract.stage):
                    answers = encoded.predict_many(grid(hw), multimask=False)
            with clock("labels"):
                labels, scores = best_of(answers, hw)
            steps = {name: ms for name, ms in encoded.timings.items() if name != "total"}
            timings = {**steps, **clock.timings()}
            return Result(
                labels,
                labels,
                scores,
                self.NAMES,
                (),
                timings,
                encoded.photo,
                self.backend,
                self.precision,
                background=True,
            )

        return segment


def grid(photo_hw: tuple[int, int]) -> list[Prompt]:
    """Points in the middle of SIDE × SIDE equal parts, row by row."""
    height, width = photo_hw
    places = [(index + 0.5) / SIDE for index in range(SIDE)]
    return [Prompt([[x * width, y * height]]) for y in places for x in places]


def best_of(answers: Sequence[PromptedMasks], photo_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Of the masks that cover a pixel the one with the largest IoU estimate: its number from 1, and the estimate.

    Returns:
        [H, W] uint16, 0 where no mask lies; [H, W] float32.
    """
    labels, scores = np.zeros(photo_hw, np.uint16), np.zeros(photo_hw, np.float32)
    for index, answer in sorted(enumerate(answers), key=lambda pair: float(pair[1].iou[0])):
        labels[answer.masks[0]] = index + 1
        scores[answer.masks[0]] = answer.iou[0]
    return labels, scores


def open_trial(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> PromptTrial:
    """The trial of a bundle."""
    engines.open((ENCODER, PROMPT_DECODER))
    return PromptTrial(bundle, engines, bundle.recipe.override(parameters))
