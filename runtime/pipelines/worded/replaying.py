"""Segmenters whose engines' results can be kept, and decided again under other thresholds, as `ovdeploy tune` does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...labelling.remembering import RememberingDecoder
from ...stage.arrays import Array
from ...words.vocabulary import Vocabulary
from ..engines import Engines
from ..promptable.stages import DECODER, WHOLE

LOGITS = "logits"
"""The name of what segmenters keep that label pixels, beside SAM's features where they refine."""

MOST_BYTES = 1 << 30
"""Of the decoder's answers on one photo, whose trials may ask about thousands of regions."""

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


class RefinedReplay:
    """Deciding labels that SAM's decoder may refine."""

    engines: Engines

    @abstractmethod
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
            answers, photo, vocabulary: as `Replaying.deciding` takes them.
            decoder: SAM's; None where nothing is refined.
            parameters: overrides.

        Raises:
            EngineError: the decoder failed or returned NaN.
        """

    def deciding(
        self, answers: Mapping[str, Array], photo: np.ndarray, vocabulary: Vocabulary, memory: Memory
    ) -> Callable[[Mapping[str, Any]], Result]:
        """See `Replaying.deciding`. The decoder's answers are too large for `memory`, and live with this function."""
        engine = self.engines[DECODER] if DECODER in self.engines else None  # noqa: SIM401 (get would open it)
        decoder = RememberingDecoder(engine, WHOLE, MOST_BYTES) if engine else None
        return lambda parameters: self.decided(answers, photo, vocabulary, decoder, parameters)
