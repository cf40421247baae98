"""The segmenter of the grounded pipeline: a photo and a vocabulary in; things, and labels, out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...boundary.arguments import public
from ...bundle.bundle import Bundle, Manifest
from ...errors import hearing, warn
from ...geometry.sizes import HW
from ...photo.arrays import RGB
from ...photo.reading import Photo, as_photo, origin_of
from ...reporting import Clock, logger
from ...stage.arrays import Array, to_host
from ...words.vocabulary import Vocabulary, check_embeddings, random_vocabulary
from ..engines import Engines
from ..promptable.interactive import Prompter
from ..promptable.photo_encoder import PhotoEncoder
from ..promptable.stages import ENCODER, PROMPT_DECODER, WHOLE, features_in
from ..prompted import PromptablePhoto
from ..worded.encoded_photo import read_saved, refuse_other_encoding
from ..worded.replaying import Memory
from ..worded.segmenter import WordedSegmenter
from .detecting import Detections, taken
from .detectors import DETECTORS
from .encoded_photo import GroundedEncodedPhoto, encoding_values, read_arrays
from .models import row_of
from .parameters import GroundedParameters
from .things import GroundedInstance, Known, learn, painted, things_of, unknown

log = logger("pipelines")


class Asked(NamedTuple):
    """A photo with its boxes, before any threshold."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    found: Detections
    features: Callable[[Clock], Mapping[str, Array]]
    """SAM's of the photo; made when they are asked for."""
    known: Known
    """SAM's answers so far."""


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
        with hearing() as of_settings:
            settings = self._overridden(self.parameters, parameters)
        of_call = [*of_settings, *self._checked(vocabulary, settings)]
        with self.engines.turn:
            words = self._detector.words(vocabulary)
        running = threading.Semaphore(engines)

        def segment(photo: Photo) -> Result:
            clock = Clock()
            with hearing() as of_photo:
                with clock("decode"):
                    image = as_photo(photo, settings.max_pixels)
                with self.engines.turn, running:
                    seen = self._detector.seen(image, settings, clock)
                    found = self._detector.found(seen, words, size_of(image), clock)
                    features = partial(self._sam(settings).features, image)
                    things = self._things(Asked(image, found, features, {}), vocabulary, settings, clock)
                result = self._result(image, things, vocabulary, clock)
            return replace(result, warnings=(*of_call, *of_photo))

        return segment

    def _things(
        self, asked: Asked, vocabulary: Vocabulary, settings: GroundedParameters, clock: Clock
    ) -> tuple[GroundedInstance, ...]:
        """The things in the boxes that are taken; where SAM was asked about all of them, or there is none, it rests."""
        with clock("boxes"):
            found = taken(asked.found, size_of(asked.photo), vocabulary.background, settings)
        new = unknown(asked.known, found.boxes)
        if len(new):
            encoded = self._sam(settings).encoded(asked.photo, asked.features(clock), clock)
            with clock(PROMPT_DECODER):
                learn(asked.known, new, encoded)
        with clock("things"):
            return things_of(asked.known, found, vocabulary, settings)

    def _prompter(self, settings: GroundedParameters) -> Prompter:
        sam = self._sam(settings)
        return Prompter(sam.dimensions, sam.encoder, sam.decoder, settings, sam.turn)

    def _sam(self, settings: GroundedParameters) -> PhotoEncoder:
        encoder, decoder = self.engines[ENCODER], self.engines[PROMPT_DECODER]
        return PhotoEncoder(self.manifest.dimensions, encoder, decoder, settings, self.engines.turn)

    def _result(
        self, image: np.ndarray, things: tuple[GroundedInstance, ...], vocabulary: Vocabulary, clock: Clock
    ) -> Result:
        with clock("labels"):
            labels, scores = painted(things, size_of(image))
        told = clock.timings()
        log.info("a photo of %d×%d: %d things, %.0f ms", *labels.shape[::-1], len(things), told["total"])
        return Result(
            labels, labels, scores, vocabulary.names, (), told, image, self.backend, self.precision,
            background=vocabulary.background, things=things,
        )  # fmt: skip

    @public("photo", "color")
    def encode(
        self, photo: Photo, *, parameters: Mapping[str, Any] | None = None, color: str = RGB
    ) -> GroundedEncodedPhoto:
        """Encode a photo once, to ask about it many times: see `Segmenter.encode`.

        SAM's features are kept; of OWLv2 the boxes too. A detector that sees a sentence runs with each vocabulary.
        """
        self.engines.refuse_closed()
        settings, clock = self._overridden(self.parameters, parameters), Clock()
        with clock("decode"):
            image = as_photo(photo, settings.max_pixels, color)
        with self.engines.turn:
            seen = self._detector.seen(image, settings, clock)
            made = {**seen, **self._sam(settings).features(image, clock)}
        return self._encoded(image, origin_of(photo), made, settings, clock.timings())

    @public()
    def load_encoded(self, path: str | Path) -> GroundedEncodedPhoto:
        """Read a photo that was encoded and saved: see `Segmenter.load_encoded`."""
        of_sam = features_in({spec.name: spec for spec in self.engines[ENCODER].contract.outputs})
        specs = {**self._detector.kept, **of_sam}
        saved = read_saved(
            path, GroundedEncodedPhoto.FORM, self.engines.bundle, lambda arrays, _: read_arrays(arrays, specs)
        )
        settings = self._overridden(self.parameters, saved.parameters)
        return self._encoded(saved.photo, saved.path, saved.made, settings, {})

    def _encoded(
        self,
        image: np.ndarray,
        path: str | None,
        made: Mapping[str, Array],
        settings: GroundedParameters,
        timings: Mapping[str, float],
    ) -> GroundedEncodedPhoto:
        return GroundedEncodedPhoto(
            image, path, made, settings, timings, self.engines.bundle, self._segment_encoded, self.engines.turn
        )

    def _segment_encoded(
        self, encoded: GroundedEncodedPhoto, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None
    ) -> Result:
        self.engines.refuse_closed()
        with hearing() as of_settings:
            settings = self._overridden(encoded.parameters, parameters)
        refuse_other_encoding(*(encoding_values(of) for of in (encoded.parameters, settings)))
        of_call = [*of_settings, *self._checked(vocabulary, settings)]
        clock, image = Clock(), encoded.photo
        with hearing() as of_photo:
            with encoded.turn, self.engines.turn:  # in this order always
                seen = {name: to_host(encoded.made[name]) for name in self._detector.kept}
                found = self._detector.found(seen, self._detector.words(vocabulary), size_of(image), clock)
                asked = Asked(image, found, lambda _: of_sam(encoded.made), encoded.known)
                things = self._things(asked, vocabulary, settings, clock)
            result = self._result(image, things, vocabulary, clock)
        return replace(result, path=encoded.path, bundle=self.engines.bundle, warnings=(*of_call, *of_photo))

    def answers(self, photo: np.ndarray, vocabulary: Vocabulary) -> dict[str, Array]:
        """See `Replaying.answers`. These are all boxes, whatever their scores, and SAM's features."""
        settings, clock = self.parameters, Clock()
        with self.engines.turn:
            seen = self._detector.seen(photo, settings, clock)
            found = self._detector.found(seen, self._detector.words(vocabulary), size_of(photo), clock)
            return {**found._asdict(), **self._sam(settings).features(photo, clock)}

    def deciding(
        self, answers: Mapping[str, Array], photo: np.ndarray, vocabulary: Vocabulary, memory: Memory
    ) -> Callable[[Mapping[str, Any]], Result]:
        """See `Replaying.deciding`. What is remembered is what SAM sees in a box."""
        found = Detections(*(to_host(answers[name]) for name in Detections._fields))
        asked = Asked(photo, found, lambda _: of_sam(answers), memory)

        def decided(parameters: Mapping[str, Any]) -> Result:
            settings, clock = self._overridden(self.parameters, parameters), Clock()
            with self.engines.turn:
                things = self._things(asked, vocabulary, settings, clock)
            return self._result(photo, things, vocabulary, clock)

        return decided

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


def size_of(photo: np.ndarray) -> HW:
    """The height and width of a photo [H, W, 3]."""
    return photo.shape[0], photo.shape[1]


def of_sam(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """SAM's features among what was made of a photo."""
    return {name: array for name, array in arrays.items() if name in WHOLE}


def open_segmenter(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> GroundedSegmenter:
    """The segmenter of a bundle."""
    engines.open(bundle.recipe.running_stages)
    embedder = DETECTORS[row_of(bundle.recipe).kind].embedder(bundle, engines)
    return GroundedSegmenter(bundle.manifest, engines, embedder=embedder, parameters=parameters)
