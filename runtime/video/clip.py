"""What a clip is: frames that can be read from the beginning, and what is told when reading ends early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from ..errors import VideoError, warn
from .frame import Choice, Frame


class DamageError(VideoError):
    """Why no further frame can be read."""


class Clip(ABC):
    """A clip that can be read from its beginning, as often as one likes.

    Attributes:
        path: of the file or folder.
        choice: which frames are wanted.
        damage: why the last reading ended before the clip did, in a sentence; empty if it did not. The frames before
            the damage were given.
        rate: frames in a second on average, as the file says; None where it does not.
        hw: height and width of the upright frames; None before the first was read.
        count: frames that it has, wanted or not, as far as the file says; None where it does not.
    """

    rate: float | None = None
    count: int | None = None

    def __init__(self, path: Path, choice: Choice, max_pixels: int) -> None:
        self.path, self.choice, self.max_pixels = path, choice, max_pixels
        self.damage = ""
        self.hw: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that are wanted, in their order. Where none is, since the clip ends before, that is warned of.

        Raises:
            VideoError: not a single frame can be read.
        """
        self.damage = ""
        read = wanted = 0
        try:
            for frame in self._frames():
                self._same_size(frame)
                read += 1
                if self.choice.is_past(frame.number):
                    return
                if self.choice.wants(frame.number):
                    wanted += 1
                    yield frame
        except DamageError as damage:
            if not read:
                raise VideoError(f"{self.path}: {damage}") from damage
            self.damage = str(damage)
        if not read:
            raise VideoError(f"{self.path}: there is no frame in it")
        if not wanted and not self.damage:
            warn(f"none of the clip's {read} frames is wanted: the first that may be is {self.choice.first}")

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """All frames from the first on; those that are not wanted may have an empty picture, but for their size.

        Raises:
            VideoError: the clip cannot be opened.
            DamageError: no further frame can be read.
        """

    def _same_size(self, frame: Frame) -> None:
        h, w = frame.image.shape[:2]
        if self.hw is None:
            self.hw = h, w
        if (h, w) != self.hw:
            raise DamageError(f"frame {frame.number} is {w}×{h}, those before it are {self.hw[1]}×{self.hw[0]}")

    def _refuse_huge(self, h: int, w: int) -> None:
        if h * w > self.max_pixels:
            told = f"its frames are {w}×{h}, {h * w / 1e6:.3g} megapixels; the limit is {self.max_pixels / 1e6:.3g}"
            raise VideoError(f"{self.path}: {told}. Scale the clip down, or raise max_pixels")
