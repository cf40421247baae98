"""A photo that the dense pipeline has encoded: words come in with the head, behind the tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from ...backends.base import Session
from ...stage.arrays import Array
from ..promptable.encoded_photo import RefinableEncodedPhoto
from ..promptable.stages import ENCODER, features_in
from .crops import crop_count
from .parameters import DenseParameters
from .stages import FEATURES, TOWER

OF_CROPS = ("short_side", "max_long_side", "side", "crop", "stride")
"""Parameters that the encoding depends on."""


class DenseEncodedPhoto(RefinableEncodedPhoto[Mapping[str, Array]]):
    """See `EncodedPhoto`. What was made are the features of the photo's crops, by name, and SAM's."""

    FORM = "ovdeploy/dense-photo/1"

    def arrays(self) -> Mapping[str, Array]:
        """The features."""
        return self.made


def features_of(
    arrays: dict[str, np.ndarray], parameters: dict[str, Any], engines: Mapping[str, Session]
) -> dict[str, Array]:
    """Arrays of a file, once they are found to be features of crops under its parameters.

    Args:
        arrays: by name.
        parameters: that the photo was encoded under.
        engines: those that make features, by stage.

    Raises:
        ValueError: others are there, or not all, or they have other sizes or types, NaN or infinity.
    """
    count = crop_count(msgspec.convert(parameters, DenseParameters))
    specs = {name: engines[TOWER].contract.output(name) for name in FEATURES}
    if set(arrays) != set(specs):  # SAM's are there too where it was refined, or could be
        specs |= features_in({spec.name: spec for spec in engines[ENCODER].contract.outputs})
    if set(arrays) != set(specs):
        raise ValueError(f"it holds {sorted(arrays)}")
    for name, spec in specs.items():
        array = arrays[name]
        if array.shape != spec.sized({"B": count}) or array.dtype != spec.dtype:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
    return dict(arrays)


def encoding_values(parameters: DenseParameters) -> Mapping[str, Any]:
    """The parameters that encoding depends on, as plain values."""
    return {name: getattr(parameters, name) for name in OF_CROPS}
