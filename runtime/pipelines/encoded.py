"""Photos that are encoded once and asked about many times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..answers.result import Result
from ..words.vocabulary import Vocabulary


class EncodedPhoto(ABC):
    """A photo behind the engines that know nothing of words. Made by `Segmenter.encode` and `Segmenter.load_encoded`.

    It lives as long as its segmenter is open. Threads may share it.

    Attributes:
        photo: [H, W, 3] uint8 RGB, upright. It cannot be written to, since all results share it.
        path: where it came from, as it was given; None for what had no name.
        timings: milliseconds per step of the encoding; empty for one that was loaded.
    """

    photo: np.ndarray
    path: str | None
    timings: Mapping[str, float]

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes in memory, of the photo and of all that was made of it, kept answers included."""

    @abstractmethod
    def segment(self, vocabulary: Vocabulary, *, parameters: Mapping[str, Any] | None = None) -> Result:
        """Name every pixel: what `Segmenter.segment` gives for this photo, without encoding it again.

        Regions that were asked about before, with the same point, box and mask, are not decoded again.

        Args:
            vocabulary: the classes.
            parameters: overrides for this call, of what comes behind the encoding.

        Raises:
            ParameterError: an override cannot be used, or the photo was encoded under another value.
            VocabularyError: the embeddings are not this model's.
            EngineError: an engine failed or returned NaN, or the segmenter was closed.
        """

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write it to one `.npz` file, which `Segmenter.load_encoded` reads.

        Raises:
            FileError: the system refuses the path.
            EngineError: it lies on a GPU, and its segmenter was closed.
        """
