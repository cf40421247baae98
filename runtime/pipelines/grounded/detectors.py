"""The kinds of detectors: how each is opened, and what embeds its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ...bundle.bundle import Bundle, Manifest
from ..engines import Engines
from ..text_embedder import TextEmbedder, text_embedder
from ..worded.stages import TEXT
from .detecting import Detector
from .dino import DinoDetector, PhraseEmbedder
from .models import OWL, SENTENCE
from .owl import OwlDetector
from .stages import DETECTOR, GROUND_DETECTOR, GROUND_TEXT


class DetectorKind(NamedTuple):
    """A way in which detectors take words."""

    make: Callable[[Manifest, Engines], Detector]
    """Makes the detector of open engines."""
    embedder: Callable[[Bundle, Engines], Any]
    """What embeds words, as `TextEmbedder` does; None if the bundle has nothing that could."""


def _owl(manifest: Manifest, engines: Engines) -> Detector:
    return OwlDetector(engines[DETECTOR], manifest.dimensions.detector_height)


def _embedder(bundle: Bundle, engines: Engines) -> TextEmbedder | None:
    return text_embedder(bundle, TEXT, engines.precision, engines.backend, lambda: engines[TEXT])


def _dino(manifest: Manifest, engines: Engines) -> DinoDetector:
    sizes = manifest.dimensions
    image_hw = (sizes.detector_height, sizes.detector_width)
    return DinoDetector(engines[GROUND_DETECTOR], image_hw, sizes.context_length)


def _phrases(bundle: Bundle, engines: Engines) -> TextEmbedder | None:
    opened = partial(engines.__getitem__, GROUND_TEXT)
    return text_embedder(bundle, GROUND_TEXT, engines.precision, engines.backend, opened, PhraseEmbedder)


DETECTORS: Mapping[str, DetectorKind] = {
    OWL: DetectorKind(_owl, _embedder),
    SENTENCE: DetectorKind(_dino, _phrases),
}
"""By the `kind` of a row of `MODELS`."""
