"""A photo that the training-free pipeline has encoded: words come in with the head, behind all encoders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...answers.result import Result
from ...boundary.arguments import public
from ...boundary.reading import arrays_in, from_json, opened, read_arrays, to_json, why_no_file
from ...errors import ParameterError, PhotoError
from ...files import atomic_path
from ...labelling.remembering import RememberingDecoder
from ...recipe.parameters import Parameters
from ...words.vocabulary import Vocabulary
from ..encoded import EncodedPhoto
from ..engines import Engines
from ..promptable.stages import WHOLE
from .stages import SAM

FORM = "ovdeploy/encoded-photo/1"
ABOUT, PHOTO, WINDOWS, AFFINITY = "about", "photo", "windows", "affinity"
"""Names of the arrays in a file, beside SAM's features; affinities have a number behind theirs."""

MOST_PARTS = 2
"""Parts of a photo that have an affinity of their own."""

MOST_BYTES = 1 << 34
"""Of arrays that are read from a file, where they lie as they are: nothing is allocated that it has no bytes for."""

OF_WINDOWS = ("short_side", "max_long_side", "crop", "stride", "sam_halves")
"""Parameters that the encoding depends on, beside those that SAM's encoder takes."""


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says of itself."""

    form: str
    bundle: str
    path: str | None
    parameters: dict[str, Any]


class Made(NamedTuple):
    """What the encoders made of a photo, on the host."""

    windows: np.ndarray
    """[Wy, Wx, D, h, w] float32."""
    affinities: tuple[np.ndarray, ...]
    """[N, N] float32 for each part of the photo that has one."""
    features: Mapping[str, np.ndarray]
    """SAM's, by the names of its decoder's inputs; none if nobody needed them so far."""

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
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


class TrainingFreeEncodedPhoto(EncodedPhoto):
    """See `EncodedPhoto`."""

    def __init__(
        self,
        photo: np.ndarray,
        path: str | None,
        made: Made,
        parameters: Parameters,
        timings: Mapping[str, float],
        ask: Callable[[TrainingFreeEncodedPhoto, Vocabulary, Mapping[str, Any] | None], Result],
        about: Callable[[Parameters], dict[str, Any]],
    ) -> None:
        """An encoded photo.

        Args:
            photo: [H, W, 3] uint8 RGB.
            path: where it came from.
            made: what the encoders made of it; SAM's features are put there when they are first needed.
            parameters: that it was encoded under.
            timings: of the encoding.
            ask: segments it.
            about: tells the bundle and the parameters.
        """
        photo.setflags(write=False)  # all results share it, and SAM may read it later
        self.photo, self.path, self.timings = photo, path, dict(timings)
        self.made, self.parameters = made, parameters
        self.decoder: RememberingDecoder | None = None
        self.turn = threading.RLock()
        self._ask, self._about = ask, about

    @property
    def nbytes(self) -> int:
        """See `EncodedPhoto.nbytes`."""
        return self.photo.nbytes + self.made.nbytes + (self.decoder.nbytes if self.decoder else 0)

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
        about = to_json({"form": FORM, "path": self.path, **self._about(self.parameters)})
        arrays = {ABOUT: np.frombuffer(about, np.uint8), PHOTO: self.photo, **self.made.arrays()}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # no name is one of its own arguments


class Saved(NamedTuple):
    """What a file of an encoded photo holds."""

    photo: np.ndarray
    path: str | None
    made: Made
    parameters: dict[str, Any]
    """That it was encoded under."""


def read_saved(path: str | Path, bundle: str) -> Saved:
    """Read a file of `EncodedPhoto.save`.

    Args:
        path: the file.
        bundle: digest of the bundle that it must be of.

    Raises:
        PhotoError: it is missing, damaged, something else, or of another bundle.
    """
    try:
        with opened(path, PhotoError, "the encoded photo") as file:
            names = arrays_in(file)
            arrays = read_arrays(file, names, MOST_BYTES)
        about = msgspec.convert(from_json(arrays.pop(ABOUT).tobytes()), About)
        photo, made = arrays.pop(PHOTO), Made.of(arrays)
        if about.form != FORM or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise ValueError(f"its form is {about.form!r}")
    except Exception as error:  # zipfile, numpy and msgspec raise many kinds on damaged files
        state = why_no_file(path) or "it is damaged, or something else"
        raise PhotoError(f"{path} is no encoded photo of EncodedPhoto.save: {state}") from error
    if about.bundle != bundle:
        raise PhotoError(
            f"{path} was encoded by another bundle (digest {about.bundle[:12]}…; this one's is {bundle[:12]}…); encode "
            f"the photo again"
        )
    return Saved(photo, about.path, made, about.parameters)


def encoding_values(parameters: Parameters, engines: Engines) -> dict[str, Any]:
    """The parameters that encoding depends on, as plain values."""
    taken = [spec.name for spec in engines[SAM].contract.inputs] if SAM in engines else []
    values: dict[str, Any] = msgspec.to_builtins(parameters)
    return {name: value for name, value in values.items() if name in (*OF_WINDOWS, *taken)}


def refuse_other_encoding(encoded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse parameters under which the photo would have been encoded otherwise.

    Raises:
        ParameterError: names them.
    """
    other = [name for name, value in asked.items() if encoded.get(name) != value]
    if other:
        told = ", ".join(f"{name}={asked[name]!r} (encoded under {encoded.get(name)!r})" for name in other)
        raise ParameterError(f"the photo would have to be encoded anew for {told}; give this to `encode`")
