"""Segmenters whose engines' results can be kept, and decided again under other thresholds, as `ovdeploy tune` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ...answers.result import Result
from ...stage.arrays import Array
from ...words.vocabulary import Vocabulary
from ..engines import Engines

LOGITS = "logits"
"""The name of what segmenters keep that label pixels, beside SAM's features where they refine."""

Memory = dict[bytes, Any]
"""What trials of one photo have found out, for the next ones. It takes little room, or stays empty."""


@runtime_checkable
class Replaying(Protocol):
    """What answers a photo and words in two steps: with the engines, and then by thresholds, as often as one likes."""

    engines: Engines
    parameters: Any

    def answers(self, photo: np.ndarray, vocabulary: Vocabulary) -> dict[str, Array]:
        """What the engines make of a photo and words, by names. No threshold has a part in it.

        Args:
            photo: [H, W, 3] uint8 RGB.
            vocabulary: the classes.

        Raises:
            EngineError: an engine failed or returned NaN.
        """

    def deciding(
        self, answers: Mapping[str, Array], photo: np.ndarray, vocabulary: Vocabulary, memory: Memory
    ) -> Callable[[Mapping[str, Any]], Result]:
        """What makes results of overrides of the parameters. Only SAM's decoder is run, on prompts that are new.

        Args:
            answers: of `answers`, made under parameters that differ in thresholds alone.
            photo: [H, W, 3] uint8 RGB; only its size matters, and the result's picture.
            vocabulary: the classes.
            memory: of this photo and vocabulary; begun empty.

        Raises:
            EngineError: the decoder failed or returned NaN.
        """


@runtime_checkable
class Paced(Replaying, Protocol):
    """One whose photos take longer or shorter by settings that tuning can fit."""

    SIZE: ClassVar[str]
    """The parameter that says how large a photo is seen; the larger, the more windows or crops."""
