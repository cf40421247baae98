"""Files that an ONNX graph reads beside itself, found without the package `onnx`: the wire format of protobuf, skimmed.

ONNX Runtime and OpenVINO open whatever a graph calls its external data, an absolute path too. So a graph is looked
through before they see it. Weights are passed over, not read: a graph of 184 MB takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..errors import BundleError

LOCATION = b"location"
"""The key of an external file among a tensor's `external_data`."""

SMALL = 1 << 16
"""Bytes of a message that is read and searched for the key at once; larger ones are gone into field by field."""

FIELDS = 5_000_000
"""Fields of a graph that are looked at; the largest graph that is known here has some 20,000."""

DEPTH = 32
"""Graphs within graphs, and what lies in them: each takes three levels."""

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
"""Protobuf's wire types. (Those of groups, 3 and 4, ONNX has none of.)"""

Fields = Mapping[int, str]

MESSAGES: Mapping[str, Fields] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""onnx.proto, as far as tensors lie in it: by message, which fields are messages that may hold some."""


def check_external(path: Path, relative: str, listed: Collection[str]) -> None:
    """Refuse a graph that would read a file which the manifest does not list with it.

    Args:
        path: the graph.
        relative: its path in the bundle, as the manifest has it.
        listed: paths in the bundle of the files beside it, which have been verified.

    Raises:
        BundleError: it names another file, or is no ONNX graph.
    """
    folder, allowed = PurePosixPath(relative).parent, {PurePosixPath(name) for name in listed}
    with open(path, "rb") as file:
        for location in sorted(_Skimmer(file, path).locations()):
            if PurePosixPath(folder / location) not in allowed:
                raise BundleError(
                    f"{path} takes weights from {location!r}, which the manifest does not list with it; do not use "
                    f"this bundle, or export it again"
                )


class _Skimmer:
    """Goes through the fields of a file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._left = file, path, FIELDS

    def locations(self) -> set[str]:
        """Every file that a tensor of the model names."""
        end = self._file.seek(0, 2)
        self._file.seek(0)
        return set(self._within("model", end, 0))

    def _within(self, message: str, end: int, depth: int) -> Iterator[str]:
        if depth > DEPTH:
            raise self._damaged("graphs lie in graphs without end")
        while (at := self._file.tell()) < end:
            field, wire = divmod(self._varint(end), 8)
            if wire != LENGTH:
                self._pass_over(wire, end)
                continue
            stop = self._varint(end) + self._file.tell()
            if stop > end:
                raise self._damaged(f"a field at byte {at} passes its end")
            kind = MESSAGES[message].get(field) if message != "entry" else None
            if kind == "entry":
                yield from self._entry(stop)
            elif kind is not None and self._may_hold(stop):
                yield from self._within(kind, stop, depth + 1)
            self._file.seek(stop)

    def _may_hold(self, stop: int) -> bool:
        """Whether the key lies in a message; a large one may, unseen."""
        begin = self._file.tell()
        if stop - begin > SMALL:
            return True
        found = LOCATION in self._file.read(stop - begin)
        self._file.seek(begin)
        return found

    def _entry(self, stop: int) -> Iterator[str]:
        """The value of an entry of `external_data` whose key is `LOCATION`."""
        texts: dict[int, list[bytes]] = {1: [], 2: []}
        while self._file.tell() < stop:
            field, wire = divmod(self._varint(stop), 8)
            if wire != LENGTH:
                self._pass_over(wire, stop)
                continue
            size = self._varint(stop)
            if size > stop - self._file.tell():
                raise self._damaged("an entry of external data passes its end")
            texts.setdefault(field, []).append(self._file.read(size))
        if LOCATION in texts[1]:
            yield from (value.decode("utf-8", "surrogateescape") for value in texts[2] or [b""])

    def _pass_over(self, wire: int, end: int) -> None:
        if wire == VARINT:
            self._varint(end)
        elif wire in (EIGHT, FOUR):
            self._file.seek(8 if wire == EIGHT else 4, 1)
        else:
            raise self._damaged(f"there is a field of the unknown wire type {wire}")
        if self._file.tell() > end:
            raise self._damaged("a field passes its end")

    def _varint(self, end: int) -> int:
        self._left -= 1
        if self._left < 0:
            raise self._damaged(f"it has more than {FIELDS:,} fields")
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte or self._file.tell() > end:
                break
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value
        raise self._damaged("a number passes its end")

    def _damaged(self, why: str) -> BundleError:
        return BundleError(f"{self._path} cannot be loaded: it is no ONNX graph ({why}). Export the bundle again.")
