"""Photos that are no files by themselves: members of a tar, values of a column, objects in a store."""

from __future__ import annotations

import hashlib

import numpy as np

from ..errors import PhotoError
from ..photo.decoding import decoded
from ..photo.stored import Known, Stamp, known_photo
from . import stores


class ContentPhoto(Known):
    """A photo whose content is at hand. It is let go of once it is read."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self._content = name, content

    def current_stamp(self) -> Stamp:
        """Nothing: only its content tells."""
        return ()

    def look(self) -> str:
        """See `Known.look`."""
        if not self.sha256:
            self.sha256 = hashlib.sha256(self._held()).hexdigest()
        return self.sha256

    def read(self, max_pixels: int) -> np.ndarray:
        """See `Readable.read`."""
        self.look()
        content, self._content = self._held(), b""
        return decoded(content, self.name, max_pixels)

    def _held(self) -> bytes:
        return self._content


class ObjectPhoto(ContentPhoto):
    """A photo in a store of objects, fetched when its turn comes."""

    def __init__(self, url: str) -> None:
        super().__init__(url, b"")

    def _held(self) -> bytes:
        self._content = self._content or stores.content(self.name)
        return self._content


class BrokenPhoto(ContentPhoto):
    """What stands where no photo could be had; reading it tells why.

    Attributes:
        rest: whether it stands for all photos that would follow, however many they are.
    """

    def __init__(self, name: str, why: str, *, rest: bool = False) -> None:
        """Nothing.

        Args:
            name: what it would be called.
            why: it is not there, in a sentence that names it.
            rest: whether it stands for all photos that would follow, however many they are.
        """
        super().__init__(name, b"")
        self._why, self.rest = why, rest

    def _held(self) -> bytes:
        raise PhotoError(self._why)


def named_photo(name: str, *, allow_urls: bool) -> Known:
    """The photo of a path or a URL.

    Args:
        name: as it was given.
        allow_urls: whether a URL may be fetched.
    """
    if not stores.is_stored(name):
        return known_photo(name, allow_urls=allow_urls)
    if not allow_urls:
        return BrokenPhoto(name, f"{name} lies in the network, where photos are fetched from with --allow-urls alone")
    return ObjectPhoto(name)
