"""A photo on its way through SAM's encoder, to be asked about by prompts of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backends.base import Session
from ...geometry.dimensions import SamDimensions
from ...geometry.sam_frame import SamFrame, sam_frame
from ...reporting import Clock
from ...stage.arrays import Array
from ..prompted import PromptablePhoto
from .sam_encoder import encode_sam
from .stages import features_in


@dataclass(frozen=True)
class PhotoEncoder:
    """SAM's two engines, with what they need to know."""

    dimensions: SamDimensions
    """The bundle's."""
    encoder: Session
    """SAM's image encoder, with or without the affinity."""
    decoder: Session
    """SAM's decoder for prompts of any kind."""
    parameters: Any
    """`prompt_batch` is used."""
    turn: AbstractContextManager[Any]
    """Held while an engine runs: those of a GPU are for one thread at a time."""

    def features(self, image: np.ndarray, clock: Clock) -> dict[str, Array]:
        """What the encoder makes of a photo [H, W, 3] uint8 RGB, where it is made."""
        with self.turn:
            outputs = encode_sam(image, self._frame(image), self.encoder, self.dimensions, self.parameters, clock)
            return {name: self.encoder.keep(array) for name, array in features_in(outputs).items()}

    def encoded(self, image: np.ndarray, features: Mapping[str, Array], clock: Clock) -> PromptablePhoto:
        """A photo [H, W, 3] uint8 RGB whose features are there."""
        batch, limit = self.parameters.prompt_batch, self.dimensions.sam_logit_limit
        return PromptablePhoto(image, features, self._frame(image), self.decoder, batch, clock, self.turn, limit)

    def _frame(self, image: np.ndarray) -> SamFrame:
        return sam_frame((image.shape[0], image.shape[1]), self.dimensions, multiple=1)
