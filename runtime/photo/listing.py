"""Sources and their places, of any number: kept as the bytes of their names, not as objects."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple, overload

from ..errors import ParameterError
from ..geometry.limits import LISTED

_APART = 1 << 31
"""In the place of a length: the place is no end of the name, and kept beside it."""


class Source(NamedTuple):
    """A photo that was named, and where its results go."""

    name: str
    """A path or a URL."""
    place: str
    """Relative to the folder of results, with the photo's suffix: `a/b.jpg`."""


class Listing(Sequence[Source]):
    """Sources in their order. A million take as many bytes as their names, and 12 MB.

    Named once, they can be gone through again and again, in the same order.
    """

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        """Take sources.

        Args:
            sources: in their order; read once.

        Raises:
            ParameterError: there are more than `LISTED`.
        """
        self._text = bytearray()
        self._ends, self._lengths = array("Q"), array("I")
        self._apart: dict[int, str] = {}
        for source in sources:
            if len(self) == LISTED:
                raise ParameterError(f"more than {LISTED:,} photos are named; give a part of them at a time")
            self._add(source)

    def _add(self, source: Source) -> None:
        name, place = source
        if name.endswith(place):
            self._lengths.append(len(place))
        else:
            self._apart[len(self)] = place
            self._lengths.append(_APART)
        self._text += name.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def digest(self) -> str:
        """SHA-256 of the names in their order; nothing of what lies there goes in."""
        return hashlib.sha256(self._ends.tobytes() + self._text).hexdigest()

    @overload
    def __getitem__(self, index: int) -> Source: ...

    @overload
    def __getitem__(self, index: slice) -> list[Source]: ...

    def __getitem__(self, index: int | slice) -> Source | list[Source]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        name = self._text[self._ends[at - 1] if at else 0 : self._ends[at]].decode("utf-8", "surrogatepass")
        length = self._lengths[at]
        return Source(name, self._apart[at] if length == _APART else name[len(name) - length :])
