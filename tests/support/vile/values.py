"""The values: by name, each made anew for every case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


class OwnError(Exception):
    """What the objects below raise. From an iterator or a function of the user's it may come through: it is theirs."""


class Raising:
    """Every look into it fails."""

    def _fail(self, *_: object, **__: object) -> Any:
        raise OwnError("a method of the user's object")

    __array__ = __str__ = __repr__ = __len__ = __iter__ = __fspath__ = __index__ = __float__ = __bool__ = _fail
    __eq__ = __getitem__ = __contains__ = __call__ = __format__ = _fail
    __hash__ = object.__hash__


class RaisingPath(os.PathLike):
    def __fspath__(self) -> str:
        raise OwnError("fspath")


class RaisingList(list):
    def __iter__(self) -> Iterator[Any]:
        raise OwnError("iter")

    def __len__(self) -> int:
        raise OwnError("len")


class RaisingDict(dict):
    def __iter__(self) -> Iterator[Any]:
        raise OwnError("iter")

    def items(self) -> Any:
        raise OwnError("items")


def self_referencing() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def self_referencing_dict() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


def nested(depth: int = 10**5) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def failing_generator() -> Iterator[Any]:
    yield "x"
    raise OwnError("a generator of the user's")


def objects() -> np.ndarray:
    found = np.empty((2, 2), object)
    found[0, 0] = Raising()
    return found


def vast(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """An array that seems to be large: one element, strides of 0."""
    return np.broadcast_to(np.zeros((), dtype), shape)


PLAIN: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "0": lambda: 0,
    "1": lambda: 1,
    "-1": lambda: -1,
    "2": lambda: 2,
    "10**6": lambda: 10**6,
    "2**31": lambda: 2**31,
    "-(2**31)": lambda: -(2**31),
    "2**63": lambda: 2**63,
    "10**5000": lambda: 10**5000,
    "-(10**5000)": lambda: -(10**5000),
    "0.0": lambda: 0.0,
    "-0.0": lambda: -0.0,
    "1e-320": lambda: 1e-320,
    "1e308": lambda: 1e308,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
    "complex": lambda: 1j,
    "np.float32": lambda: np.float32(0.5),
    "np.int64": lambda: np.int64(3),
    "np.bool": lambda: np.True_,
    "np.datetime": lambda: np.datetime64("2020"),
    "empty text": lambda: "",
    "space": lambda: "  ",
    "text": lambda: "x",
    "NUL": lambda: "a\0b",
    "long text": lambda: "x" * 10**5,
    "long words": lambda: "cup; " * 20_000,
    "surrogate": lambda: "a\udcff",
    "lone surrogate": lambda: "\ud800",
    "newlines": lambda: "a\nb\r\n",
    "markup": lambda: "[bold]{}%s{0}",
    "right to left": lambda: "\u202e\u0000\ufeff",
    "bytes": lambda: b"a\xff",
    "bytearray": lambda: bytearray(3),
    "type": lambda: int,
    "function": lambda: lambda *_, **__: None,
    "module": lambda: os,
    "ellipsis": lambda: ...,
    "object": object,
    "raising": Raising,
    "raising path": RaisingPath,
    "raising list": lambda: RaisingList(["x"]),
    "raising dict": lambda: RaisingDict(x=1),
    "empty list": list,
    "empty tuple": tuple,
    "empty dict": dict,
    "set": lambda: {"x"},
    "list of None": lambda: [None],
    "list of numbers": lambda: [1, 2.5, float("nan")],
    "list of texts": lambda: ["x", "y"],
    "list of bytes": lambda: [b"x"],
    "list of empty text": lambda: [""],
    "list of surrogates": lambda: ["\ud800"],
    "list of NUL": lambda: ["a\0b"],
    "list of long text": lambda: ["x" * 10**5],
    "list of lists": lambda: [[1, 2], [3]],
    "list of raising": lambda: [Raising()],
    "ragged": lambda: [[1, 2], [3, [4]]],
    "self-referencing list": self_referencing,
    "self-referencing dict": self_referencing_dict,
    "nested list": nested,
    "generator": lambda: (name for name in ("x", "y")),
    "failing generator": failing_generator,
    "range": lambda: range(10**9),
    "dict of a wrong key": lambda: {"nonsense": 1},
    "dict of a number": lambda: {1: 1},
    "dict of None": lambda: {None: None},
    "dict of raising": lambda: {"short_side": Raising()},
    "dict of surrogate": lambda: {"\udcff": "\udcff"},
    "dict of 10**5000": lambda: {"short_side": 10**5000},
    "dict of nan": lambda: {"region_threshold": float("nan")},
    "dict of long text": lambda: {"x" * 10**5: 1},
    "array of no axes": lambda: np.array(1.0),
    "empty array": lambda: np.zeros((0,)),
    "empty photo": lambda: np.zeros((0, 5, 3), np.uint8),
    "one pixel": lambda: np.zeros((1, 1, 3), np.uint8),
    "thin photo": lambda: np.zeros((1, 4000, 3), np.uint8),
    "grey": lambda: np.zeros((9, 9), np.uint8),
    "four channels": lambda: np.zeros((9, 9, 4), np.uint8),
    "floats": lambda: np.zeros((9, 9, 3)),
    "strided": lambda: np.zeros((90, 90, 6), np.uint8)[::3, ::-2, ::2],
    "read-only": lambda: np.frombuffer(bytes(27), np.uint8).reshape(3, 3, 3),
    "objects": objects,
    "texts": lambda: np.array(["x"]),
    "structured": lambda: np.zeros((3, 3), [("x", np.int8)]),
    "array of nan": lambda: np.full((4, 2), np.nan, np.float32),
    "array of inf": lambda: np.full((4,), np.inf),
    "big-endian": lambda: np.zeros((9, 9, 3), ">u2"),
    "many axes": lambda: np.zeros((1,) * 20),
    "vast photo": lambda: vast((60_000, 60_000, 3)),
    "vast array": lambda: vast((1 << 40,), np.float32),
    "vast table": lambda: vast((1 << 20, 1 << 20), np.float32),
    "masked": lambda: np.ma.masked_all((9, 9, 3), np.uint8),
    "dates": lambda: np.zeros(3, "M8[s]"),
}
"""Values that are no paths."""


def paths(folder: Path) -> dict[str, Callable[[], Any]]:
    """Paths that name something vile; made in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: folder / name for name in ("fifo", "loop", "zero", "empty", "locked", "noise", "plain", "shut")}
    if not (folder / "made").exists():
        os.mkfifo(made["fifo"])
        made["loop"].symlink_to(made["loop"])
        made["zero"].symlink_to("/dev/zero")  # a link: what writes here must not replace the device
        made["empty"].touch()
        made["noise"].write_bytes(bytes(range(256)) * 64)
        made["plain"].write_text("a text")
        made["locked"].write_text("secret")
        made["locked"].chmod(0)
        made["shut"].mkdir()
        (made["shut"] / "inside").touch()
        made["shut"].chmod(0)
        (folder / "made").touch()
    named = {
        "missing": folder / "missing",
        "folder": folder,
        "long name": folder / ("n" * 300),
        "long path": Path("/".join(["d" * 100] * 60)),
        "below a file": made["plain"] / "below",
        "inside shut": made["shut"] / "inside",
        "name with NUL": Path(f"{folder}/a\0b"),
        "name with surrogate": folder / "a\ud800",
        "name in bytes": folder / "a\udcff",
        "no suffix": folder / "new",
        "odd suffix": folder / "new.xyz",
        **made,
    }
    found: dict[str, Callable[[], Any]] = {f"path: {name}": lambda path=path: path for name, path in named.items()}
    found |= {f"text path: {name}": lambda path=path: str(path) for name, path in named.items()}
    return found | {"path in bytes": lambda: os.fsencode(made["plain"]), "list of a fifo": lambda: [made["fifo"]]}
