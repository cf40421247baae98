"""A photo that the grounded pipeline has encoded: what its detector sees of it without words, and SAM's features."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...stage.arrays import Array
from ...stage.contract import TensorSpec
from ..worded.encoded_photo import WordedEncodedPhoto
from .parameters import GroundedParameters
from .things import Known

OF_PHOTO = ("padding",)
"""Parameters that the encoding depends on."""


class GroundedEncodedPhoto(WordedEncodedPhoto[Mapping[str, Array]]):
    """See `EncodedPhoto`. What was made is what the detector keeps, and SAM's features, by name.

    Attributes:
        known: SAM's masks of the boxes that it was asked about.
        turn: held while the photo is asked about.
    """

    FORM = "ovdeploy/grounded-photo/1"

    def __init__(self, *encoded: Any) -> None:
        """As `WordedEncodedPhoto`."""
        super().__init__(*encoded)
        self.known: Known = {}
        self.turn = threading.RLock()

    def arrays(self) -> Mapping[str, Array]:
        """What was made."""
        return self.made

    @property
    def nbytes(self) -> int:
        """See `EncodedPhoto.nbytes`; SAM's masks count."""
        return super().nbytes + sum(seen.mask.counts.nbytes for seen in self.known.values())


def read_arrays(arrays: Mapping[str, np.ndarray], specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Arrays of a file, once they are found to be what was kept of a photo.

    Args:
        arrays: by name.
        specs: what they must be.

    Raises:
        ValueError: others are there, or not all, or they have other sizes or types, NaN or infinity.
    """
    if set(arrays) != set(specs):
        raise ValueError(f"it holds {sorted(arrays)}")
    for name, spec in specs.items():
        array = arrays[name]
        if array.shape != spec.sized({}) or array.dtype != spec.dtype:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
    return dict(arrays)


def encoding_values(parameters: GroundedParameters) -> Mapping[str, Any]:
    """The parameters that encoding depends on, as plain values."""
    return {name: getattr(parameters, name) for name in OF_PHOTO}
