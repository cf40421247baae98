"""What stands for a segmenter in the trials of pipelines that take no words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..bundle.bundle import Bundle
from ..reporting import Reporter, silent
from ..words.vocabulary import Vocabulary
from .base import Segmenter
from .engines import Engines


class WordlessTrial(Segmenter):
    """A segmenter where only a photo's time, its engines' inputs and how far its masks agree are asked for."""

    NAMES: ClassVar[tuple[str, ...]]
    """What labels mean, whatever the words: there is no text engine."""

    def __init__(self, bundle: Bundle, engines: Engines, parameters: Any) -> None:
        self.manifest, self.engines, self.parameters = bundle.manifest, engines, parameters

    def vocabulary(
        self,
        classes: Iterable[str] | None = None,
        *,
        templates: Iterable[str] | None = None,
        background: bool | None = None,
        progress: Reporter = silent,
    ) -> Vocabulary:
        """`NAMES`, whatever the words."""
        return Vocabulary(self.NAMES, np.zeros((len(self.NAMES), 1)), background=True)

    def warmup(self) -> None:
        """Run all engines once on a photo of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        self.segment(noise, self.vocabulary())
        self.engines.tune()
