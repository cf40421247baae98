"""Photos as a long run meets them: read when their turn comes, and known again by their content."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from typing import BinaryIO

import numpy as np

from ..boundary.reading import opened
from ..errors import PhotoError
from .decoding import decoded, read_file
from .fetching import fetch, is_url
from .reading import Readable

PIECE = 1 << 20

Stamp = tuple[int, ...]
"""Of a file: its size, and when its content and its entry were changed. The last cannot be set by hand."""


class Known(Readable):
    """A photo whose content can be told from another's.

    Attributes:
        sha256: of the content that was read, or that a file of this stamp had, hexadecimal; empty before, and if the
            file was written to meanwhile.
        stamp: of the file that was read; empty of what is no file.
    """

    name: str
    sha256: str = ""
    stamp: Stamp = ()

    @abstractmethod
    def current_stamp(self) -> Stamp:
        """The stamp of what lies there now; empty if it has none."""

    @abstractmethod
    def look(self) -> str:
        """The SHA-256 of what lies there now.

        Raises:
            PhotoError: it cannot be read.
        """


class StoredPhoto(Known):
    """A photo in a file."""

    def __init__(self, path: str) -> None:
        self.name = path

    def current_stamp(self) -> Stamp:
        """See `Known.current_stamp`."""
        try:
            return _stamp_of(os.stat(self.name))
        except (OSError, ValueError):
            return ()

    def look(self) -> str:
        """See `Known.look`."""
        with opened(self.name, PhotoError, "the photo") as file:
            try:
                self._note(file)
            except OSError as error:
                raise PhotoError(f"{self.name}: the photo cannot be read ({error})") from error
        return self.sha256

    def read(self, max_pixels: int) -> np.ndarray:
        """See `Readable.read`."""
        photo = read_file(self.name, max_pixels, self._note)
        if self.current_stamp() != self.stamp:
            self.sha256, self.stamp = "", ()  # what was decoded may not be what was looked at
        return photo

    def _note(self, file: BinaryIO) -> None:
        before, digest = os.fstat(file.fileno()), hashlib.sha256()
        while piece := file.read(PIECE):
            digest.update(piece)
        self.sha256, self.stamp = digest.hexdigest(), _stamp_of(before)


class FetchedPhoto(Known):
    """A photo behind a URL, fetched once."""

    def __init__(self, url: str, *, allowed: bool) -> None:
        """A photo that is not fetched yet.

        Args:
            url: http or https.
            allowed: whether it may be fetched; else reading it is an error.
        """
        self.name, self._allowed = url, allowed
        self._content: bytes | None = None

    def current_stamp(self) -> Stamp:
        """Nothing: only its content tells."""
        return ()

    def look(self) -> str:
        """See `Known.look`."""
        if not self._allowed:
            raise PhotoError(f"{self.name} lies in the network, where photos are fetched from with --allow-urls alone")
        if self._content is None:
            self._content = fetch(self.name)
            self.sha256 = hashlib.sha256(self._content).hexdigest()
        return self.sha256

    def read(self, max_pixels: int) -> np.ndarray:
        """See `Readable.read`."""
        self.look()
        content, self._content = self._content or b"", None
        return decoded(content, self.name, max_pixels)


def known_photo(name: str, *, allow_urls: bool = False) -> Known:
    """The photo of a path or a URL.

    Args:
        name: as it was given.
        allow_urls: whether a URL may be fetched.
    """
    return FetchedPhoto(name, allowed=allow_urls) if is_url(name) else StoredPhoto(name)


def _stamp_of(state: os.stat_result) -> Stamp:
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns
