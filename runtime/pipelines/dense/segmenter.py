"""The segmenter of the dense pipeline: a photo and a vocabulary in, labels out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...answers.result import Result
from ...boundary.arguments import public
from ...bundle.bundle import Bundle
from ...errors import hearing
from ...photo.arrays import RGB
from ...photo.reading import Photo, as_photo, origin_of
from ...reporting import Clock, logger
from ...words.vocabulary import Vocabulary, random_vocabulary
from ..engines import Engines
from ..text_embedder import text_embedder
from ..worded.encoded_photo import read_saved, refuse_other_encoding
from ..worded.segmenter import WordedSegmenter
from ..worded.stages import TEXT
from .encoded_photo import DenseEncodedPhoto, encoding_values, features_of
from .encoding import Features, ask_crops, encode_crops, rows_asked
from .merging import Answered, label
from .models import head_of
from .parameters import DenseParameters
from .stages import TOWER

log = logger("pipelines")


class DenseSegmenter(WordedSegmenter):
    """A learned model on engines."""

    parameters: DenseParameters

    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        settings = self._overridden(self.parameters, parameters)
        of_words = self._checked(vocabulary, settings)
        running = threading.Semaphore(engines)

        def segment(photo: Photo) -> Result:
            clock = Clock()
            with hearing() as of_photo:
                with clock("decode"):
                    image = as_photo(photo, settings.max_pixels)
                with self.engines.turn, running:
                    features = self._features(image, settings, clock)
                    crops = self._asked(features, vocabulary, settings, clock)
                result = self._labelled(image, crops, vocabulary, settings, clock)
            return replace(result, warnings=(*of_words, *of_photo))

        return segment

    def _features(self, image: np.ndarray, settings: DenseParameters, clock: Clock) -> Features:
        return encode_crops(image, self.engines[TOWER], self.manifest.dimensions, settings, clock)

    def _asked(
        self, features: Features, vocabulary: Vocabulary, settings: DenseParameters, clock: Clock
    ) -> list[Answered]:
        text, _ = rows_asked(vocabulary, settings)
        head = self.engines[head_of(self.manifest.recipe)]
        return ask_crops(features, text, head, self.manifest.dimensions.most_words, clock)

    def _labelled(
        self, image: np.ndarray, crops: list[Answered], vocabulary: Vocabulary, settings: DenseParameters, clock: Clock
    ) -> Result:
        """Label the photo; needs no engine."""
        _, classes = rows_asked(vocabulary, settings)
        with clock("labels"):
            labels, scores = label(crops, classes, (image.shape[0], image.shape[1]), settings)
        told = clock.timings()
        log.info("a photo of %d×%d: %.0f ms", *labels.shape[::-1], told["total"])
        return Result(
            labels, labels, scores, vocabulary.names, (), told, image, self.backend, self.precision,
            background=vocabulary.background,
        )  # fmt: skip

    @public("photo", "color")
    def encode(
        self, photo: Photo, *, parameters: Mapping[str, Any] | None = None, color: str = RGB
    ) -> DenseEncodedPhoto:
        """Encode a photo once, to ask about it many times: see `Segmenter.encode`."""
        self.engines.refuse_closed()
        settings, clock = self._overridden(self.parameters, parameters), Clock()
        with clock("decode"):
            image = as_photo(photo, settings.max_pixels, color)
        with self.engines.turn:
            made = {
                name: self.engines[TOWER].keep(array) for name, array in self._features(image, settings, clock).items()
            }
        return DenseEncodedPhoto(
            image,
            origin_of(photo),
            made,
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
            lambda arrays, parameters: features_of(arrays, parameters, self.engines[TOWER].contract),
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
        clock = Clock()
        with hearing() as of_photo:
            with self.engines.turn:
                crops = self._asked(encoded.made, vocabulary, settings, clock)
            result = self._labelled(encoded.photo, crops, vocabulary, settings, clock)
        return replace(result, path=encoded.path, bundle=self.engines.bundle, warnings=(*of_words, *of_photo))

    @public()
    def warmup(self) -> None:
        """Run everything once on a photo of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        vocabulary = random_vocabulary(2, self.manifest.dimensions.embedding)
        self.segment(noise, vocabulary, parameters={"probability_threshold": 0.0, "max_pixels": noise.size})
        with self.engines.turn:
            self.engines.tune()


def open_segmenter(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> DenseSegmenter:
    """The segmenter of a bundle."""
    engines.open(bundle.recipe.running_stages)
    embedder = text_embedder(bundle, TEXT, engines.precision, engines.backend, lambda: engines[TEXT])
    return DenseSegmenter(bundle.manifest, engines, embedder=embedder, parameters=parameters)
