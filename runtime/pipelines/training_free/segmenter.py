"""The segmenter of the training-free pipeline: a photo and a vocabulary in, a labelled mask out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...boundary.arguments import public
from ...bundle.bundle import Bundle
from ...errors import BundleError, hearing
from ...photo.arrays import RGB
from ...photo.reading import Photo, as_photo, origin_of
from ...recipe.parameters import Parameters
from ...reporting import Clock, logger
from ...stage.arrays import Array, to_host
from ...words.vocabulary import Vocabulary
from ..engines import Engines
from ..promptable.interactive import Prompter
from ..promptable.refined_replay import RefinedReplay
from ..promptable.refining import refuse_without_sam
from ..promptable.stages import DECODER, PROMPT_DECODER, WHOLE
from ..prompted import PromptablePhoto
from ..text_embedder import text_embedder
from ..worded.encoded_photo import read_saved, refuse_other_encoding
from ..worded.replaying import LOGITS
from ..worded.segmenter import Turns, WordedSegmenter
from ..worded.stages import TEXT
from .encoded_photo import Made, TrainingFreeEncodedPhoto, encoding_values
from .encoding import Encoded, encode_photo
from .labelling import label_photo
from .methods import method_of
from .stages import SAM
from .steps import check_made, encode_once, plan_of, segment_encoded, segment_photo

log = logger("pipelines")


class TrainingFreeSegmenter(RefinedReplay, WordedSegmenter):
    """A method of the training-free pipeline on engines."""

    SIZE: ClassVar[str] = "short_side"

    parameters: Parameters

    def _needed(self) -> set[str]:
        """Without refinement there may be no SAM, unless the method needs it."""
        return super()._needed() - ({DECODER} if method_of(self.manifest.recipe).affinity else {SAM, DECODER})

    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        settings = self._overridden(self.parameters, parameters)
        of_words = self._checked(vocabulary, settings)
        turns = Turns(self.engines.turn, threading.Semaphore(engines))

        def segment(photo: Photo) -> Result:
            with hearing() as of_photo:
                result = segment_photo(photo, vocabulary, self.manifest, self.engines, settings, turns)
            return self._told(result, (*of_words, *of_photo))

        return segment

    def _told(self, result: Result, warned: tuple[str, ...]) -> Result:
        """A result that says what made it, and stands in the log."""
        log.info("a photo of %d×%d: %.0f ms", *result.mask.shape[::-1], result.timings["total"])
        log.debug("its steps in ms: %s", ", ".join(f"{name} {ms:.1f}" for name, ms in result.timings.items()))
        return replace(result, backend=self.backend, precision=self.precision, warnings=warned)

    @public("photo", "color")
    def encode(
        self, photo: Photo, *, parameters: Mapping[str, Any] | None = None, color: str = RGB
    ) -> TrainingFreeEncodedPhoto:
        """Encode a photo once, to ask about it many times: see `Segmenter.encode`."""
        self.engines.refuse_closed()
        settings, clock = self._overridden(self.parameters, parameters), Clock()
        with clock("decode"):
            image = as_photo(photo, settings.max_pixels, color)
        made = encode_once(image, self.manifest, self.engines, settings, clock)
        return self._encoded(image, origin_of(photo), made, settings, clock.timings())

    @public()
    def load_encoded(self, path: str | Path) -> TrainingFreeEncodedPhoto:
        """Read a photo that was encoded and saved: see `Segmenter.load_encoded`."""
        saved = read_saved(path, TrainingFreeEncodedPhoto.FORM, self.engines.bundle, lambda arrays, _: Made.of(arrays))
        settings = self._overridden(self.parameters, saved.parameters)
        check_made(saved.made, saved.photo, self.manifest, settings, path)
        return self._encoded(saved.photo, saved.path, saved.made, settings, {})

    def _encoded(
        self, photo: np.ndarray, path: str | None, made: Made, settings: Parameters, timings: Mapping[str, float]
    ) -> TrainingFreeEncodedPhoto:
        return TrainingFreeEncodedPhoto(
            photo, path, made, settings, timings, self.engines.bundle, self._segment_encoded, self.engines.turn
        )

    def _segment_encoded(
        self, encoded: TrainingFreeEncodedPhoto, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None
    ) -> Result:
        self.engines.refuse_closed()
        settings = self._overridden(encoded.parameters, parameters)
        refuse_other_encoding(*(encoding_values(of, self.engines) for of in (encoded.parameters, settings)))
        of_words = self._checked(vocabulary, settings)
        with hearing() as of_photo:
            result = segment_encoded(encoded, vocabulary, self.manifest, self.engines, settings)
        told = self._told(result, (*of_words, *of_photo))
        return replace(told, path=encoded.path, bundle=self.engines.bundle)

    def answers(self, photo: np.ndarray, vocabulary: Vocabulary) -> dict[str, Array]:
        """See `Replaying.answers`."""
        settings, manifest = self.parameters, self.manifest
        plan, method = plan_of(photo, manifest, settings), method_of(manifest.recipe)
        made = encode_photo(
            photo, vocabulary.embeddings, plan, self.engines, method, manifest.dimensions, settings, Clock()
        )
        return {LOGITS: made.logits, **((made.sam_features or {}) if settings.refine else {})}

    def decided(
        self,
        answers: Mapping[str, Array],
        photo: np.ndarray,
        vocabulary: Vocabulary,
        decoder: Session | None,
        parameters: Mapping[str, Any],
    ) -> Result:
        """See `RefinedReplay.decided`."""
        settings = self._overridden(self.parameters, parameters)
        features = {name: array for name, array in answers.items() if name in WHOLE}
        made = Encoded(to_host(answers[LOGITS]), features or None)
        plan = plan_of(photo, self.manifest, self.parameters)
        return label_photo(made, photo, plan, vocabulary, decoder, settings, Clock())

    @public("photo", "color")
    def prompt(self, photo: Photo, *, color: str = RGB) -> PromptablePhoto:
        """Encode a photo once for interactive prompts: see `Segmenter.prompt`."""
        if SAM not in self.engines:
            raise BundleError(f"this bundle of {self.manifest.recipe.name!r} has no SAM, and so nothing to prompt")
        encoder, decoder = self.engines[SAM], self.engines[PROMPT_DECODER]
        prompter = Prompter(self.manifest.dimensions, encoder, decoder, self.parameters, self.engines.turn)
        return prompter.encode(photo, color=color)

    @public()
    def warmup(self) -> None:
        """Run everything once on a photo of noise."""
        rng = np.random.default_rng(0)
        photo = rng.integers(0, 256, (self.parameters.short_side, self.parameters.short_side, 3), np.uint8)
        embeddings = rng.standard_normal((2, self.manifest.dimensions.embedding))
        anything = {"probability_threshold": 0.0, "max_pixels": photo.size}
        self.segment(photo, Vocabulary(["a", "b"], embeddings), parameters=anything)
        with self.engines.turn:
            self.engines.tune()

    def _overridden(self, base: Parameters, overrides: Mapping[str, Any] | None) -> Parameters:
        settings: Parameters = super()._overridden(base, overrides)
        refuse_without_sam(settings, self.engines, self.manifest.recipe)
        return settings


def open_segmenter(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> TrainingFreeSegmenter:
    """The segmenter of a bundle."""
    engines.open(bundle.recipe.running_stages)
    embedder = text_embedder(bundle, TEXT, engines.precision, engines.backend, lambda: engines[TEXT])
    return TrainingFreeSegmenter(bundle.manifest, engines, embedder=embedder, parameters=parameters)
