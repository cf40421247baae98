"""Encoded photos of pipelines that take words: what they have in common, and the file that holds one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from ...answers.result import Result
from ...boundary.arguments import public
from ...boundary.reading import arrays_in, from_json, opened, read_arrays, to_json, why_no_file
from ...errors import ParameterError, PhotoError
from ...files import atomic_path
from ...stage.arrays import Array, to_host
from ...words.vocabulary import Vocabulary
from ..encoded import EncodedPhoto

ABOUT, PHOTO = "about", "photo"
"""Names of the arrays in a file, beside what the encoders made."""

MOST_BYTES = 1 << 34
"""Of arrays that are read from a file, where they lie as they are: nothing is allocated that it has no bytes for."""

Made = TypeVar("Made")


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says of itself."""

    form: str
    bundle: str
    path: str | None
    parameters: dict[str, Any]


class WordedEncodedPhoto(EncodedPhoto, Generic[Made]):
    """See `EncodedPhoto`. What the encoders made is a pipeline's own.

    Attributes:
        made: what the encoders made of the photo, where they made it.
        parameters: that it was encoded under.
    """

    FORM: ClassVar[str]
    """Of the file."""

    def __init__(
        self,
        photo: np.ndarray,
        path: str | None,
        made: Made,
        parameters: Any,
        timings: Mapping[str, float],
        bundle: str,
        ask: Callable[[Any, Vocabulary, Mapping[str, Any] | None], Result],
        turn: AbstractContextManager[Any],
    ) -> None:
        """An encoded photo.

        Args:
            photo: [H, W, 3] uint8 RGB.
            path: where it came from.
            made: what the encoders made of it.
            parameters: that it was encoded under.
            timings: of the encoding.
            bundle: digest of the bundle that encoded it.
            ask: segments it.
            turn: held while what lies on a GPU is copied: its engines are for one thread at a time.
        """
        photo.setflags(write=False)  # all results share it, and engines may read it later
        self.photo, self.path, self.timings = photo, path, dict(timings)
        self.made, self.parameters = made, parameters
        self._bundle, self._ask, self._turn = bundle, ask, turn

    @abstractmethod
    def arrays(self) -> Mapping[str, Array]:
        """What the encoders made, as arrays by name, wherever they lie."""

    @property
    def nbytes(self) -> int:
        """See `EncodedPhoto.nbytes`."""
        return self.photo.nbytes + sum(array.nbytes for array in self.arrays().values())

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
        about = to_json({"form": self.FORM, "path": self.path, "bundle": self._bundle, "parameters": self.parameters})
        with self._turn:
            made = {name: to_host(array) for name, array in self.arrays().items()}
        arrays = {ABOUT: np.frombuffer(about, np.uint8), PHOTO: self.photo, **made}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # no name is one of its own arguments


class Saved(NamedTuple, Generic[Made]):
    """What a file of an encoded photo holds."""

    photo: np.ndarray
    path: str | None
    made: Made
    parameters: dict[str, Any]
    """That it was encoded under."""


def read_saved(
    path: str | Path,
    form: str,
    bundle: str,
    understood: Callable[[dict[str, np.ndarray], dict[str, Any]], Made],
) -> Saved[Made]:
    """Read a file of `EncodedPhoto.save`.

    Args:
        path: the file.
        form: that it must have.
        bundle: digest of the bundle that it must be of.
        understood: makes of arrays, and of the parameters, what the encoders made; or raises `ValueError`, `KeyError`.

    Raises:
        PhotoError: it is missing, damaged, something else, or of another bundle.
    """
    try:
        with opened(path, PhotoError, "the encoded photo") as file:
            arrays = read_arrays(file, arrays_in(file), MOST_BYTES)
        about = msgspec.convert(from_json(arrays.pop(ABOUT).tobytes()), About)
        photo = arrays.pop(PHOTO)
        if about.form != form or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise ValueError(f"its form is {about.form!r}")
        made = understood(arrays, about.parameters) if about.bundle == bundle else None
    except Exception as error:  # zipfile, numpy and msgspec raise many kinds on damaged files
        state = why_no_file(path) or "it is damaged, or something else"
        raise PhotoError(f"{path} is no encoded photo of EncodedPhoto.save: {state}") from error
    if made is None:
        raise PhotoError(
            f"{path} was encoded by another bundle (digest {about.bundle[:12]}…; this one's is {bundle[:12]}…); encode "
            f"the photo again"
        )
    return Saved(photo, about.path, made, about.parameters)


def refuse_other_encoding(encoded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse parameters under which the photo would have been encoded otherwise.

    Raises:
        ParameterError: names them.
    """
    other = [name for name, value in asked.items() if encoded.get(name) != value]
    if other:
        told = ", ".join(f"{name}={asked[name]!r} (encoded under {encoded.get(name)!r})" for name in other)
        raise ParameterError(f"the photo would have to be encoded anew for {told}; give this to `encode`")
