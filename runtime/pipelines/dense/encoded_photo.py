"""A photo that the dense pipeline has encoded: words come in with the head, behind the tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from ...stage.arrays import Array
from ...stage.contract import StageContract
from ..worded.encoded_photo import WordedEncodedPhoto
from .crops import crop_count
from .parameters import DenseParameters
from .stages import FEATURES

OF_CROPS = ("short_side", "max_long_side", "side", "crop", "stride")
"""Parameters that the encoding depends on."""


class DenseEncodedPhoto(WordedEncodedPhoto[Mapping[str, Array]]):
    """See `EncodedPhoto`. What was made are the features of the photo's crops, by name."""

    FORM = "ovdeploy/dense-photo/1"

    def arrays(self) -> Mapping[str, Array]:
        """The features."""
        return self.made


def features_of(arrays: dict[str, np.ndarray], parameters: dict[str, Any], tower: StageContract) -> dict[str, Array]:
    """Arrays of a file, once they are found to be features of crops under its parameters.

    Args:
        arrays: by name.
        parameters: that the photo was encoded under.
        tower: the contract of what makes features.

    Raises:
        ValueError: others are there, or not all, or they have other sizes or types, NaN or infinity.
    """
    count = crop_count(msgspec.convert(parameters, DenseParameters))
    if set(arrays) != set(FEATURES):
        raise ValueError(f"it holds {sorted(arrays)}")
    for name, array in arrays.items():
        spec = tower.output(name)
        if array.shape != spec.sized({"B": count}) or array.dtype != spec.dtype:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
    return dict(arrays)


def encoding_values(parameters: DenseParameters) -> Mapping[str, Any]:
    """The parameters that encoding depends on, as plain values."""
    return {name: getattr(parameters, name) for name in OF_CROPS}
