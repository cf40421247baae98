"""A photo that the training-free pipeline has encoded: words come in with the head, behind all encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...recipe.parameters import Parameters
from ...stage.arrays import Array
from ..engines import Engines
from ..promptable.encoded_photo import RefinableEncodedPhoto
from ..promptable.stages import WHOLE
from .stages import SAM

WINDOWS, AFFINITY = "windows", "affinity"
"""Names of the arrays in a file, beside SAM's features; affinities have a number behind theirs."""

MOST_PARTS = 2
"""Parts of a photo that have an affinity of their own."""

OF_WINDOWS = ("short_side", "max_long_side", "crop", "stride", "sam_halves")
"""Parameters that the encoding depends on, beside those that SAM's encoder takes."""


class Made(NamedTuple):
    """What the encoders made of a photo, where they made it, and where nothing else is written."""

    windows: Array
    """[Wy, Wx, D, h, w] float32."""
    affinities: tuple[Array, ...]
    """[N, N] float32 for each part of the photo that has one."""
    features: Mapping[str, Array]
    """SAM's, by the names of its decoder's inputs; none if nobody needed them so far."""

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, Array]:
        """All arrays by name."""
        parts = {f"{AFFINITY}{part}": affinity for part, affinity in enumerate(self.affinities)}
        return {WINDOWS: self.windows, **parts, **self.features}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Made:
        """The same from `arrays`.

        Raises:
            ValueError, KeyError: others are there, or not all.
        """
        parts = sorted(name for name in arrays if name.startswith(AFFINITY))
        features = {name: arrays[name] for name in WHOLE if name in arrays}
        if set(arrays) - {WINDOWS, *features, *parts} or len(parts) > MOST_PARTS:
            raise ValueError(f"it holds {sorted(arrays)}")
        return cls(arrays[WINDOWS], tuple(arrays[name] for name in parts), features)


class TrainingFreeEncodedPhoto(RefinableEncodedPhoto[Made]):
    """See `EncodedPhoto`."""

    FORM = "ovdeploy/encoded-photo/1"

    def arrays(self) -> dict[str, Array]:
        """Windows, affinities, SAM's features."""
        return self.made.arrays()


def encoding_values(parameters: Parameters, engines: Engines) -> dict[str, Any]:
    """The parameters that encoding depends on, as plain values."""
    taken = [spec.name for spec in engines[SAM].contract.inputs] if SAM in engines else []
    values: dict[str, Any] = msgspec.to_builtins(parameters)
    return {name: value for name, value in values.items() if name in (*OF_WINDOWS, *taken)}
