"""The segmenter of the dense pipeline: a photo and a vocabulary in, labels out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...boundary.arguments import public
from ...bundle.bundle import Bundle
from ...errors import hearing, warn
from ...labelling.remembering import RememberingDecoder
from ...photo.arrays import RGB
from ...photo.reading import Photo, as_photo, origin_of
from ...reporting import Clock, logger
from ...stage.arrays import Array, to_host
from ...words.vocabulary import Vocabulary, random_vocabulary
from ..engines import Engines
from ..promptable.refined_replay import RefinedReplay
from ..promptable.refining import Labelled, ask_about_regions, finish, refuse_without_sam
from ..promptable.stages import DECODER, ENCODER, WHOLE
from ..text_embedder import text_embedder
from ..worded.encoded_photo import read_saved, refuse_other_encoding
from ..worded.replaying import LOGITS
from ..worded.segmenter import Turns, WordedSegmenter
from ..worded.stages import TEXT
from .encoded_photo import DenseEncodedPhoto, encoding_values, features_of
from .encoding import Asked, Features, ask_crops, encode_crops, frame_of, rows_asked, with_sam
from .merging import Answered, label
from .models import head_of
from .parameters import DenseParameters
from .stages import TOWER

log = logger("pipelines")

WORDS = "words"
"""The name of the numbers of each crop's words, beside its logits."""


class DenseSegmenter(RefinedReplay, WordedSegmenter):
    """A learned model on engines."""

    SIZE: ClassVar[str] = "side"

    parameters: DenseParameters

    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        settings = self._overridden(self.parameters, parameters)
        of_words = self._checked(vocabulary, settings)
        turns = Turns(self.engines.turn, threading.Semaphore(engines))

        def segment(photo: Photo) -> Result:
            clock = Clock()
            with hearing() as of_photo:
                with clock("decode"):
                    image = as_photo(photo, settings.max_pixels)
                with turns.photo:
                    with turns.engines:
                        features = self._features(image, settings, clock)
                        crops = self._asked(features, vocabulary, settings, clock)
                    decoder = self.engines[DECODER] if settings.refine else None
                    asked = Asked(image, features, crops)
                    labelled = self._labelled(asked, vocabulary, decoder, settings, clock, turns.engines)
                result = self._finished(labelled, image, vocabulary, settings, clock)
            return replace(result, warnings=(*of_words, *of_photo))

        return segment

    def _checked(self, vocabulary: Vocabulary, settings: DenseParameters) -> list[str]:
        of_words = super()._checked(vocabulary, settings)
        with hearing() as of_synonyms:
            left = [words for words in vocabulary.synonyms if len(words) > 1]
            if settings.first_synonym and left:
                classes = f"{len(left)} classes" if len(left) > 1 else "1 class"
                warn(
                    f"of the synonyms of {classes} the first alone is asked about, as CAT-Seg's authors do "
                    f"(of {'; '.join(left[0])!r} it is {left[0][0]!r}); set first_synonym=false to ask about each"
                )
        return [*of_words, *of_synonyms]

    def _features(self, image: np.ndarray, settings: DenseParameters, clock: Clock) -> Features:
        features = encode_crops(image, self.engines[TOWER], self.manifest.dimensions, settings, clock)
        return with_sam(features, image, self.engines, self.manifest.dimensions, settings, clock)

    def _asked(
        self, features: Features, vocabulary: Vocabulary, settings: DenseParameters, clock: Clock
    ) -> list[Answered]:
        text, _ = rows_asked(vocabulary, settings)
        head = self.engines[head_of(self.manifest.recipe)]
        return ask_crops(features, text, head, self.manifest.dimensions.most_words, clock)

    def _labelled(
        self,
        asked: Asked,
        vocabulary: Vocabulary,
        decoder: Session | None,
        settings: DenseParameters,
        clock: Clock,
        turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (holds nothing)
    ) -> Labelled:
        """Label the photo; only the decoder is run, where it is refined."""
        image = asked.photo
        _, classes = rows_asked(vocabulary, settings)
        with clock("labels"):
            coarse = label(asked.crops, classes, (image.shape[0], image.shape[1]), settings, halve=settings.refine)
        frame = frame_of(image, self.manifest.dimensions) if settings.refine else None
        return ask_about_regions(coarse, _of_sam(asked.features), frame, decoder, settings, clock, turn)

    def _finished(
        self, labelled: Labelled, image: np.ndarray, vocabulary: Vocabulary, settings: DenseParameters, clock: Clock
    ) -> Result:
        frame = frame_of(image, self.manifest.dimensions) if settings.refine else None
        result = finish(labelled, image, frame, vocabulary, settings, clock)
        log.info("a photo of %d×%d: %.0f ms", *result.mask.shape[::-1], result.timings["total"])
        return replace(result, backend=self.backend, precision=self.precision)

    def _overridden(self, base: DenseParameters, overrides: Mapping[str, Any] | None) -> DenseParameters:
        settings: DenseParameters = super()._overridden(base, overrides)
        refuse_without_sam(settings, self.engines, self.manifest.recipe)
        return settings

    def _needed(self) -> set[str]:
        """Without refinement there may be no SAM."""
        return super()._needed() - {ENCODER, DECODER}

    def answers(self, photo: np.ndarray, vocabulary: Vocabulary) -> dict[str, Array]:
        """See `Replaying.answers`. Beside the logits are the numbers of their words, crop by crop."""
        settings, clock = self.parameters, Clock()
        features = self._features(photo, settings, clock)
        crops = self._asked(features, vocabulary, settings, clock)
        words, logits = (np.stack(part) for part in zip(*crops, strict=True))
        return {LOGITS: logits, WORDS: words, **_of_sam(features)}

    def decided(
        self,
        answers: Mapping[str, Array],
        photo: np.ndarray,
        vocabulary: Vocabulary,
        decoder: Session | None,
        parameters: Mapping[str, Any],
    ) -> Result:
        """See `RefinedReplay.decided`."""
        settings, clock = self._overridden(self.parameters, parameters), Clock()
        crops = [*map(Answered, to_host(answers[WORDS]), to_host(answers[LOGITS]))]
        labelled = self._labelled(Asked(photo, answers, crops), vocabulary, decoder, settings, clock)
        return self._finished(labelled, photo, vocabulary, settings, clock)

    @public("photo", "color")
    def encode(
        self, photo: Photo, *, parameters: Mapping[str, Any] | None = None, color: str = RGB
    ) -> DenseEncodedPhoto:
        """Encode a photo once, to ask about it many times: see `Segmenter.encode`."""
        self.engines.refuse_closed()
        settings, clock = self._overridden(self.parameters, parameters), Clock()
        with clock("decode"):
            image = as_photo(photo, settings.max_pixels, color)
        tower, dimensions = self.engines[TOWER], self.manifest.dimensions
        with self.engines.turn:
            crops = encode_crops(image, tower, dimensions, settings, clock)
            made = {name: tower.keep(array) for name, array in crops.items()}
            features = with_sam(made, image, self.engines, dimensions, settings, clock)
        return DenseEncodedPhoto(
            image,
            origin_of(photo),
            features,
            settings,
            clock.timings(),
            self.engines.bundle,
            self._segment_encoded,
            self.engines.turn,
        )

    @public()
    def load_encoded(self, path: str | Path) -> DenseEncodedPhoto:
        """Read a photo that was encoded and saved: see `Segmenter.load_encoded`."""
        saved = read_saved(
            path,
            DenseEncodedPhoto.FORM,
            self.engines.bundle,
            lambda arrays, parameters: features_of(arrays, parameters, self.engines),
        )
        settings = self._overridden(self.parameters, saved.parameters)
        return DenseEncodedPhoto(
            saved.photo,
            saved.path,
            saved.made,
            settings,
            {},
            self.engines.bundle,
            self._segment_encoded,
            self.engines.turn,
        )

    def _segment_encoded(
        self, encoded: DenseEncodedPhoto, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None
    ) -> Result:
        self.engines.refuse_closed()
        settings = self._overridden(encoded.parameters, parameters)
        refuse_other_encoding(*(encoding_values(of) for of in (encoded.parameters, settings)))
        of_words = self._checked(vocabulary, settings)
        clock, image = Clock(), encoded.photo
        with hearing() as of_photo:
            with encoded.turn, self.engines.turn:  # in this order always
                encoded.made = with_sam(encoded.made, image, self.engines, self.manifest.dimensions, settings, clock)
                crops = self._asked(encoded.made, vocabulary, settings, clock)
                if settings.refine and encoded.decoder is None:
                    encoded.decoder = RememberingDecoder(self.engines[DECODER], WHOLE)
                asked = Asked(image, encoded.made, crops)
                labelled = self._labelled(asked, vocabulary, encoded.decoder, settings, clock)
            result = self._finished(labelled, image, vocabulary, settings, clock)
        return replace(result, path=encoded.path, bundle=self.engines.bundle, warnings=(*of_words, *of_photo))

    @public()
    def warmup(self) -> None:
        """Run everything once on a photo of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        vocabulary = random_vocabulary(2, self.manifest.dimensions.embedding)
        self.segment(noise, vocabulary, parameters={"probability_threshold": 0.0, "max_pixels": noise.size})
        with self.engines.turn:
            self.engines.tune()


def _of_sam(features: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in features.items() if name in WHOLE}


def open_segmenter(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> DenseSegmenter:
    """The segmenter of a bundle."""
    engines.open(bundle.recipe.running_stages)
    embedder = text_embedder(bundle, TEXT, engines.precision, engines.backend, lambda: engines[TEXT])
    return DenseSegmenter(bundle.manifest, engines, embedder=embedder, parameters=parameters)
