"""The kinds of detectors that the reference knows."""

from __future__ import annotations

from collections.abc import Mapping

from ....runtime.pipelines.grounded.models import OWL, SENTENCE
from .dino import DINO_KIND
from .kinds import Kind
from .owl import OWL_KIND

KINDS: Mapping[str, Kind] = {OWL: OWL_KIND, SENTENCE: DINO_KIND}
"""By the `kind` of a row of `MODELS`."""
