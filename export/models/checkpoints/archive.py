"""PyTorch's zip archives, those of TorchScript included, read without running what is in them.

Such an archive has a pickle, `data.pkl`, and beside it the bytes of every storage. The pickle is read by an unpickler
that knows how tensors are put together and nothing else: whatever else it names (a class of a training script, the
modules of a TorchScript program, `os.system`) becomes an inert stand-in, and is neither imported nor called. Bytes are
read only of those tensors that are asked for.

Layout: PyTorch's `torch/serialization.py` and `caffe2/serialize/inline_container.h`.
"""

from __future__ import annotations

import io
import math
import pickle  # nosec B403
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import torch

PICKLE_LIMIT = 256 << 20
"""Bytes of a pickle that is read. Those of the largest checkpoints, with an optimizer's state, have a few million."""

PARTS_LIMIT = 100_000
"""Modules that a model may have."""
DEPTH_LIMIT = 64
"""Modules within modules."""

DTYPES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""By the name that a storage's class has in a pickle."""


class Storage(NamedTuple):
    """A run of numbers in the archive."""

    key: str
    dtype: torch.dtype
    length: int


class Stored(NamedTuple):
    """A tensor that has not been read: a view of a storage. Offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Opaque:
    """A stand-in for an object of an unknown class: it keeps what the pickle gives it, and does nothing."""

    state: Any

    called = ""
    """The class's name in the pickle."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Opaque:
        """Made with whatever arguments."""
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any, **kwargs: Any) -> Opaque:
        """As a function: another stand-in."""
        return Opaque()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """As a list's, for lists of a class of their own."""

    def extend(self, values: Any) -> None:
        """Likewise."""

    def add(self, value: Any) -> None:
        """As a set's."""


def _view(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Stored:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Stored(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _first(value: Any, *rest: Any) -> Any:
    return value


def _of_type(rebuild: Any, kind: Any, arguments: Any, state: Any) -> Any:
    return rebuild(*arguments) if rebuild in REBUILDERS else Opaque()


class Known:
    """A function that a pickle can call, and not change: a function itself would take new defaults from it."""

    __slots__ = ("_call",)

    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        return self._call(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a pickle sets {name!r} of what it may only call")


VIEW, FIRST = Known(_view), Known(_first)

KNOWN: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): VIEW,
    ("torch._utils", "_rebuild_tensor_v2"): VIEW,
    ("torch._utils", "_rebuild_parameter"): FIRST,
    ("torch._utils", "_rebuild_parameter_with_state"): FIRST,
    ("torch._tensor", "_rebuild_from_type_v2"): Known(_of_type),
    ("torch.jit._pickle", "build_intlist"): FIRST,
    ("torch.jit._pickle", "build_tensorlist"): FIRST,
    ("torch.jit._pickle", "build_boollist"): FIRST,
    ("torch.jit._pickle", "build_doublelist"): FIRST,
    ("torch.jit._pickle", "restore_type_tag"): FIRST,
}
"""All that a pickle can call."""

REBUILDERS = (VIEW, FIRST)


@cache
def stand_in(name: str) -> type[Opaque]:
    """A class without behaviour, by the name that the pickle gives."""
    return type("Opaque", (Opaque,), {"called": name})


class _Unpickler(pickle._Unpickler):  # in Python: the one in C allocates what a memo's index asks for
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        return KNOWN.get((module, name)) or stand_in(f"{module}.{name}")

    def persistent_load(self, identifier: Any) -> Storage:
        kind, dtype, key, _, length = identifier
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise ValueError(f"a storage of a kind that is not known here: {getattr(dtype, 'called', dtype)}")
        return Storage(key, dtype, int(length))


class Archive:
    """An archive that is open, and what its pickle holds: dictionaries, lists, plain values, `Stored` and `Opaque`."""

    def __init__(self, archive: zipfile.ZipFile, pickled: str) -> None:
        """Read the pickle.

        Args:
            archive: open.
            pickled: the name of `data.pkl` in it.

        Raises:
            Exception: of nearly any kind, where the pickle is damaged.
        """
        self._archive, self._folder = archive, PurePosixPath(pickled).parent
        self._last: tuple[Storage | None, torch.Tensor] = None, torch.empty(0)
        if archive.getinfo(pickled).file_size > PICKLE_LIMIT:
            raise ValueError(f"its pickle has more than {PICKLE_LIMIT} bytes")
        if self._order() == b"big":
            raise ValueError("its numbers are big-endian")
        self.content: Any = _Unpickler(io.BytesIO(archive.read(pickled))).load()
        self.is_script = f"{self._folder / 'constants.pkl'}" in archive.namelist()
        """Whether it is a TorchScript program."""

    def tensor(self, stored: Stored) -> torch.Tensor:
        """Read a tensor.

        Raises:
            ValueError: the archive has other bytes than the tensor says.
            KeyError: it has none.
        """
        dtype, reach = stored.storage.dtype, _reach(stored)
        if reach > stored.storage.length or math.prod(stored.shape) > stored.storage.length:
            raise ValueError(f"a tensor {list(stored.shape)} reaches beyond its storage")
        record = self._archive.getinfo(str(self._folder / "data" / stored.storage.key))
        if record.file_size != stored.storage.length * dtype.itemsize or record.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{record.filename} has {record.file_size} bytes, not those of its tensor as they are")
        if reach == 0:
            return torch.empty(stored.shape, dtype=dtype)
        if self._last[0] != stored.storage:  # views of one storage follow each other
            self._last = stored.storage, torch.frombuffer(bytearray(self._archive.read(record)), dtype=dtype)
        numbers = self._last[1]
        return torch.as_strided(numbers, stored.shape, stored.strides, stored.offset).clone(
            memory_format=torch.contiguous_format
        )

    def _order(self) -> bytes:
        name = str(self._folder / "byteorder")
        if name not in self._archive.namelist():
            return b"little"
        with self._archive.open(name) as file:
            return file.read(8)


def _reach(stored: Stored) -> int:
    """Numbers of its storage up to the last that a tensor has; 0 if it has none."""
    if len(stored.shape) != len(stored.strides) or min((stored.offset, *stored.shape, *stored.strides)) < 0:
        raise ValueError("a tensor with impossible sizes")
    if 0 in stored.shape:
        return 0
    return stored.offset + sum((n - 1) * step for n, step in zip(stored.shape, stored.strides, strict=True)) + 1


def pickle_of(names: list[str]) -> str | None:
    """The name of an archive's pickle; None if it is no archive of PyTorch's."""
    return next((name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None)


def module_tensors(module: Opaque) -> dict[str, Stored]:
    """The tensors of a whole module that was saved, by the names that its state dict would have.

    A module of TorchScript has them as attributes, one of PyTorch in dictionaries of parameters, buffers and modules.

    Raises:
        ValueError: it has more parts than any model: they hold each other.
    """
    found: dict[str, Stored] = {}
    waiting = [("", module, 0)]
    for _ in range(PARTS_LIMIT):
        if not waiting:
            return found
        prefix, part, depth = waiting.pop()
        if depth > DEPTH_LIMIT:
            raise ValueError(f"its modules are nested more than {DEPTH_LIMIT} deep")
        for name, value in _members(part.state):
            if isinstance(value, Stored):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, Opaque):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
    raise ValueError(f"its modules have more than {PARTS_LIMIT} parts")


def _members(state: Any) -> Iterator[tuple[Any, Any]]:
    """Tensors and modules of a module, by name; buffers that its state dict leaves out are not among them."""
    if not isinstance(state, dict):
        return
    inner = [state[key] for key in ("_parameters", "_buffers", "_modules") if isinstance(state.get(key), dict)]
    passing = state.get("_non_persistent_buffers_set", ())
    for part in inner or [state]:
        for name, value in dict.items(part):  # not an `items` that the pickle may have put there
            if not inner or not isinstance(passing, set) or name not in passing:
                yield name, value
