"""A photo that the dense pipeline has encoded: words come in with the head, behind the tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...answers.result import Result
from ...boundary.arguments import public
from ...boundary.reading import from_json, opened, read_arrays, to_json, why_no_file
from ...errors import ParameterError, PhotoError
from ...files import atomic_path
from ...stage.contract import StageContract
from ...words.vocabulary import Vocabulary
from ..encoded import EncodedPhoto
from .crops import crop_count
from .parameters import DenseParameters
from .stages import FEATURES

FORM = "ovdeploy/dense-photo/1"
ABOUT, PHOTO = "about", "photo"
"""Names of the arrays in a file, beside the features."""

MOST_BYTES = 1 << 34
"""Of arrays that are read from a file, where they lie as they are: nothing is allocated that it has no bytes for."""

OF_CROPS = ("short_side", "max_long_side", "side", "crop", "stride")
"""Parameters that the encoding depends on."""


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says of itself."""

    form: str
    bundle: str
    path: str | None
    parameters: dict[str, Any]


class DenseEncodedPhoto(EncodedPhoto):
    """See `EncodedPhoto`."""

    def __init__(
        self,
        photo: np.ndarray,
        path: str | None,
        made: Mapping[str, np.ndarray],
        parameters: DenseParameters,
        timings: Mapping[str, float],
        bundle: str,
        ask: Callable[[DenseEncodedPhoto, Vocabulary, Mapping[str, Any] | None], Result],
    ) -> None:
        """An encoded photo.

        Args:
            photo: [H, W, 3] uint8 RGB.
            path: where it came from.
            made: the features of its crops.
            parameters: that it was encoded under.
            timings: of the encoding.
            bundle: digest of the bundle that encoded it.
            ask: segments it.
        """
        photo.setflags(write=False)  # all results share it
        self.photo, self.path, self.timings = photo, path, dict(timings)
        self.made, self.parameters = made, parameters
        self._bundle, self._ask = bundle, ask

    @property
    def nbytes(self) -> int:
        """See `EncodedPhoto.nbytes`."""
        return self.photo.nbytes + sum(array.nbytes for array in self.made.values())

    def __repr__(self) -> str:
        height, width = self.photo.shape[:2]
        return f"EncodedPhoto({width}×{height}, {self.path!r}, {self.nbytes / 1e6:.0f} MB)"

    @public("vocabulary")
    def segment(self, vocabulary: Vocabulary, *, parameters: Mapping[str, Any] | None = None) -> Result:
        """See `EncodedPhoto.segment`."""
        return self._ask(self, vocabulary, parameters)

    @public()
    def save(self, path: str | Path) -> None:
        """See `EncodedPhoto.save`."""
        about = to_json({"form": FORM, "path": self.path, "bundle": self._bundle, "parameters": self.parameters})
        arrays = {ABOUT: np.frombuffer(about, np.uint8), PHOTO: self.photo, **self.made}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # no name is one of its own arguments


class Saved(NamedTuple):
    """What a file of an encoded photo holds."""

    photo: np.ndarray
    path: str | None
    made: dict[str, np.ndarray]
    parameters: dict[str, Any]
    """That it was encoded under."""


def read_saved(path: str | Path, bundle: str, tower: StageContract) -> Saved:
    """Read a file of `EncodedPhoto.save`.

    Args:
        path: the file.
        bundle: digest of the bundle that it must be of.
        tower: the contract of what made its features.

    Raises:
        PhotoError: it is missing, damaged, something else, or of another bundle.
    """
    try:
        with opened(path, PhotoError, "the encoded photo") as file:
            arrays = read_arrays(file, (ABOUT, PHOTO, *FEATURES), MOST_BYTES)
        about = msgspec.convert(from_json(arrays.pop(ABOUT).tobytes()), About)
        photo = arrays.pop(PHOTO)
        if about.form != FORM or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise ValueError(f"its form is {about.form!r}")
    except Exception as error:  # zipfile, numpy and msgspec raise many kinds on damaged files
        raise _unreadable(path) from error
    if about.bundle != bundle:
        raise PhotoError(
            f"{path} was encoded by another bundle (digest {about.bundle[:12]}…; this one's is {bundle[:12]}…); encode "
            f"the photo again"
        )
    try:
        parameters = msgspec.convert(about.parameters, DenseParameters)
        for name, array in arrays.items():
            spec = tower.output(name)
            if array.shape != spec.sized({"B": crop_count(parameters)}) or array.dtype != spec.dtype:
                raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
    except (msgspec.ValidationError, ValueError) as error:
        raise _unreadable(path) from error
    return Saved(photo, about.path, arrays, about.parameters)


def _unreadable(path: str | Path) -> PhotoError:
    state = why_no_file(path) or "it is damaged, or something else"
    return PhotoError(f"{path} is no encoded photo of EncodedPhoto.save: {state}")


def encoding_values(parameters: DenseParameters) -> dict[str, Any]:
    """The parameters that encoding depends on, as plain values."""
    return {name: getattr(parameters, name) for name in OF_CROPS}


def refuse_other_encoding(encoded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse parameters under which the photo would have been encoded otherwise.

    Raises:
        ParameterError: names them.
    """
    other = [name for name, value in asked.items() if encoded.get(name) != value]
    if other:
        told = ", ".join(f"{name}={asked[name]!r} (encoded under {encoded.get(name)!r})" for name in other)
        raise ParameterError(f"the photo would have to be encoded anew for {told}; give this to `encode`")
