"""Replaying of pipelines whose labels SAM's decoder may refine: see `Replaying`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...labelling.remembering import RememberingDecoder
from ...stage.arrays import Array
from ...words.vocabulary import Vocabulary
from ..engines import Engines
from ..worded.replaying import Memory
from .stages import DECODER, WHOLE

MOST_BYTES = 1 << 30
"""Of the decoder's answers on one photo, whose trials may ask about thousands of regions."""


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
