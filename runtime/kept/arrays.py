"""Arrays as the content of a kept file: an index, then their bytes as they lie in memory. Nothing is unpickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from .form import Buffer, Form
from .trust import UnfitError, tell_once

KINDS = "biuf"
"""Of numbers that arrays may hold, as NumPy calls them: truth values, integers and floats."""

ALIGNED = 64
LENGTH_BYTES = 8
"""Of the number that says how long the index is."""


class Place(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An array in the index."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def write_arrays(form: Form, path: Path, key: str, arrays: Mapping[str, np.ndarray]) -> bool:
    """Keep arrays by name.

    Returns:
        Whether they are kept.
    """
    return form.write(path, key, *_packed({name: np.asarray(array) for name, array in arrays.items()}))


def read_arrays(form: Form, path: Path, key: str) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None if there is none that fits."""
    content = form.read(path, key)
    if content is None:
        return None
    try:
        return _unpacked(content)
    except UnfitError as error:
        tell_once(f"{path} is not used, and made anew: {error}")
        return None


def _packed(arrays: Mapping[str, np.ndarray]) -> list[Buffer]:
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise TypeError(f"{name}: arrays of {array.dtype} are not kept")
    index = msgspec.json.encode([Place(name, array.dtype.str, array.shape) for name, array in arrays.items()])
    parts: list[Buffer] = [len(index).to_bytes(LENGTH_BYTES, "little") + index]
    for array in arrays.values():
        parts.append(bytes(-sum(len(part) for part in parts) % ALIGNED))
        parts.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return parts


def _unpacked(content: bytearray) -> dict[str, np.ndarray]:
    """The arrays, in the memory of the content.

    Raises:
        UnfitError: the content is none of `_packed`.
    """
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    arrays = {}
    try:
        for place in msgspec.json.decode(content[LENGTH_BYTES:end], type=list[Place]):
            start, dtype = end + -end % ALIGNED, np.dtype(place.dtype)
            if dtype.kind not in KINDS:
                raise UnfitError(f"it holds an array of {dtype}")
            count = math.prod(place.shape)
            arrays[place.name] = np.frombuffer(content, dtype, count, start).reshape(place.shape)
            end = start + count * dtype.itemsize
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise UnfitError(f"it does not hold arrays ({error})") from error
    if end != len(content):
        raise UnfitError(f"it holds {len(content)} bytes, its arrays {end}")
    return arrays
