"""A calibration's trials: the draft, photos, settings and ways of opening that all of them have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...runtime.pipelines.base import Segmenter
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.reporting import Reporter
from ...runtime.words.vocabulary import Vocabulary
from .draft import Draft
from .photos import Photos
from .speed import Now
from .steps import Steps


class Opening(NamedTuple):
    """How the pipelines are opened."""

    segmenter: Callable[..., Segmenter]
    """Takes a bundle, and `precision` and `backend`."""
    vocabulary: Callable[[Segmenter], Vocabulary]
    backends: list[str]
    """Those that run the engines as they are, and so can be timed."""
    rounds: int
    now: Now = time.perf_counter


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All that it takes to try quantised engines against the float ones."""

    draft: Draft
    """Made from the float bundle; holds the engines that are tried."""
    photos: Photos
    """Those that ranges were fitted to, and those to judge by."""
    settings: Int8Settings
    """The figures that engines must reach."""
    opening: Opening
    kept: Steps
    """Keeps FP32's masks, and what was measured: another run with the same inputs comes to the same choice."""
    tell: Reporter

    @property
    def timed(self) -> bool:
        """Whether this machine can tell how fast they are."""
        return bool(self.opening.backends)

    @property
    def precision(self) -> str:
        """Of the engines that are tried."""
        return self.draft.goal.precision
