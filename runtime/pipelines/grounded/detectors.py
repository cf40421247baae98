"""The kinds of detectors: how each is opened, and what embeds its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...bundle.bundle import Bundle, Manifest
from ..engines import Engines
from ..text_embedder import TextEmbedder, text_embedder
from ..worded.stages import TEXT
from .detecting import Detector
from .models import OWL
from .owl import OwlDetector
from .stages import DETECTOR


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


DETECTORS: Mapping[str, DetectorKind] = {OWL: DetectorKind(_owl, _embedder)}
"""By the `kind` of a row of `MODELS`."""
