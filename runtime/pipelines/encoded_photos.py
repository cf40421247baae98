"""A bounded memory of encoded photos, for services."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np

from ..boundary.arguments import public
from ..photo.arrays import RGB
from ..photo.reading import MOST_PIXELS, Photo, load_photo
from .base import Segmenter
from .encoded import EncodedPhoto


class EncodedPhotos:
    """The photos that were asked about last, encoded: a bounded memory for services. Threads may share it.

    Attributes:
        encoded: photos that the engines were run on.
        found: those that were there.
    """

    @public()
    def __init__(self, segmenter: Segmenter, *, most_bytes: int = 1 << 30) -> None:
        """An empty memory.

        Args:
            segmenter: encodes what is not there.
            most_bytes: of the encoded photos together, looked at whenever a photo is asked for; those that were asked
                for longest ago are given up first. One is kept whatever its size.
        """
        self._segmenter, self._most = segmenter, most_bytes
        self._kept: OrderedDict[bytes, EncodedPhoto] = OrderedDict()
        self._lock = threading.Lock()
        self.encoded = self.found = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the encoded photos that are kept."""
        with self._lock:
            return sum(photo.nbytes for photo in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    @public("photo", "color")
    def encode(self, photo: Photo, *, color: str = RGB) -> EncodedPhoto:
        """A photo, encoded now unless one with the same pixels is kept. Its `path` is None, since many may have them.

        Args:
            photo: as `Segmenter.segment` takes it.
            color: the order of an array's colours.

        Raises:
            PhotoError, ParameterError, EngineError: as `Segmenter.encode`.
        """
        most = getattr(self._segmenter.parameters, "max_pixels", MOST_PIXELS)
        pixels = load_photo(photo, most, color=color)
        key = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).data).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.found += 1
                found = self._kept[key]
                self._give_up()  # they grow as they are asked about
                return found
        made = self._segmenter.encode(pixels)
        with self._lock:
            self.encoded += 1
            self._kept[key] = made
            self._give_up()
        return made

    def _give_up(self) -> None:
        while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > self._most:
            self._kept.popitem(last=False)
