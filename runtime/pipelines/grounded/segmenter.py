"""The segmenter of the grounded pipeline: a photo and a vocabulary in; things, and labels, out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...boundary.arguments import public
from ...bundle.bundle import Bundle, Manifest
from ...errors import hearing, warn
from ...photo.arrays import RGB
from ...photo.reading import Photo, Taken, as_photo
from ...reporting import Clock, logger
from ...words.vocabulary import Vocabulary, check_embeddings, random_vocabulary
from ..engines import Engines
from ..promptable.interactive import Prompter
from ..promptable.stages import ENCODER, PROMPT_DECODER
from ..prompted import PromptablePhoto
from ..worded.segmenter import WordedSegmenter
from .detecting import Detections, taken
from .detectors import DETECTORS
from .models import row_of
from .parameters import GroundedParameters
from .things import GroundedInstance, painted, things_of

log = logger("pipelines")


class GroundedSegmenter(WordedSegmenter):
    """A detector and a promptable model on engines."""

    parameters: GroundedParameters

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Session],
        *,
        embedder: Any = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """As `WordedSegmenter`."""
        super().__init__(manifest, engines, embedder=embedder, parameters=parameters)
        self._detector = DETECTORS[row_of(manifest.recipe).kind].make(manifest, self.engines)

    def _checked(self, vocabulary: Vocabulary, settings: GroundedParameters) -> list[str]:
        with hearing() as of_words:
            check_embeddings(vocabulary, self.manifest.dimensions.embedding)
            if not vocabulary.background:
                warn(
                    f"the vocabulary has no background, so pixels on which nothing is found have the label of "
                    f"{vocabulary.names[0]!r} and a score of 0; name a 'background' first. Instances are right as "
                    f"they are"
                )
        return of_words

    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        settings = self._overridden(self.parameters, parameters)
        of_words = self._checked(vocabulary, settings)
        with self.engines.turn:
            words = self._detector.words(vocabulary)
        running = threading.Semaphore(engines)

        def segment(photo: Photo) -> Result:
            clock = Clock()
            with hearing() as of_photo:
                with clock("decode"):
                    image = as_photo(photo, settings.max_pixels)
                with self.engines.turn, running:
                    found = self._found(image, words, vocabulary, settings, clock)
                    things, timings = self._masked(image, found, vocabulary, settings, clock)
                result = self._result(image, things, vocabulary, timings, clock)
            return replace(result, warnings=(*of_words, *of_photo))

        return segment

    def _found(
        self, image: np.ndarray, words: Any, vocabulary: Vocabulary, settings: GroundedParameters, clock: Clock
    ) -> Detections:
        """The boxes that are asked about."""
        hw = (image.shape[0], image.shape[1])
        seen = self._detector.seen(image, settings, clock)
        found = self._detector.found(seen, words, hw, settings, clock)
        with clock("boxes"):
            return taken(found, hw, vocabulary.background, settings)

    def _masked(
        self,
        image: np.ndarray,
        found: Detections,
        vocabulary: Vocabulary,
        settings: GroundedParameters,
        clock: Clock,
    ) -> tuple[tuple[GroundedInstance, ...], dict[str, float]]:
        """The boxes' instances, and the time of SAM's encoder; where there is no box SAM is not asked."""
        if not len(found.boxes):
            return (), {}
        encoded = self._prompter(settings).encode(Taken(image))
        with clock(PROMPT_DECODER):
            things = things_of(encoded, found, vocabulary, settings)
        return things, {name: ms for name, ms in encoded.timings.items() if name not in ("total", "decode")}

    def _prompter(self, settings: GroundedParameters) -> Prompter:
        encoder, decoder = self.engines[ENCODER], self.engines[PROMPT_DECODER]
        return Prompter(self.manifest.dimensions, encoder, decoder, settings, self.engines.turn)

    def _result(
        self,
        image: np.ndarray,
        things: tuple[GroundedInstance, ...],
        vocabulary: Vocabulary,
        of_sam: Mapping[str, float],
        clock: Clock,
    ) -> Result:
        with clock("labels"):
            labels, scores = painted(things, (image.shape[0], image.shape[1]))
        told = {**of_sam, **clock.timings()}
        log.info("a photo of %d×%d: %d things, %.0f ms", *labels.shape[::-1], len(things), told["total"])
        return Result(
            labels, labels, scores, vocabulary.names, (), told, image, self.backend, self.precision,
            background=vocabulary.background, things=things,
        )  # fmt: skip

    @public("photo", "color")
    def prompt(self, photo: Photo, *, color: str = RGB) -> PromptablePhoto:
        """Encode a photo once for interactive prompts: see `Segmenter.prompt`."""
        self.engines.refuse_closed()
        return self._prompter(self.parameters).encode(photo, color=color)

    @public()
    def warmup(self) -> None:
        """Run everything once on a photo of noise, with one box that is there whatever the detector says."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        vocabulary = random_vocabulary(2, self.manifest.dimensions.embedding, background=True)
        with hearing():
            self.segment(noise, vocabulary, parameters={"max_pixels": noise.size})
        encoded = self._prompter(self._overridden(self.parameters, {"max_pixels": noise.size})).encode(noise)
        encoded.predict(box=(8, 8, 56, 56))
        with self.engines.turn:
            self.engines.tune()


def open_segmenter(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> GroundedSegmenter:
    """The segmenter of a bundle."""
    engines.open(bundle.recipe.running_stages)
    embedder = DETECTORS[row_of(bundle.recipe).kind].embedder(bundle, engines)
    return GroundedSegmenter(bundle.manifest, engines, embedder=embedder, parameters=parameters)
