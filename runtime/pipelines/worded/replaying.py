"""Segmenters whose engines' results can be kept, and labelled again under other thresholds, as `ovdeploy tune` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...stage.arrays import Array
from ...words.vocabulary import Vocabulary
from ..engines import Engines

LOGITS = "logits"
"""The name of what every such segmenter keeps, beside SAM's features where it refines."""


@runtime_checkable
class Replaying(Protocol):
    """What makes labels of a photo and words in two steps: with all engines but SAM's decoder, and without them."""

    engines: Engines
    parameters: Any
    SIZE: ClassVar[str]
    """The parameter that says how large a photo is seen; the larger, the more windows or crops."""

    def answers(self, photo: np.ndarray, vocabulary: Vocabulary) -> dict[str, Array]:
        """What the engines make of a photo and words, by names: `LOGITS`, SAM's features if it is refined, and others.

        No threshold has a part in it.

        Args:
            photo: [H, W, 3] uint8 RGB.
            vocabulary: the classes.

        Raises:
            EngineError: an engine failed or returned NaN.
        """

    def decided(
        self,
        answers: Mapping[str, Array],
        photo: np.ndarray,
        vocabulary: Vocabulary,
        decoder: Session | None,
        parameters: Mapping[str, Any],
    ) -> Result:
        """The photo's labels under some parameters.

        Args:
            answers: of `answers`, made under parameters that differ in thresholds alone.
            photo: [H, W, 3] uint8 RGB; only its size matters, and the result's picture.
            vocabulary: the classes.
            decoder: SAM's; None where nothing is refined.
            parameters: overrides.

        Raises:
            EngineError: the decoder failed or returned NaN.
        """
