"""What a frame is, and which of a clip's frames are wanted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import ParameterError, shown
from ..geometry.limits import FRAMES


class Frame(NamedTuple):
    """A picture of a clip."""

    number: int
    """In the clip, from 0, whether frames before it were wanted or not."""
    seconds: float | None
    """When it is shown, from the clip's first frame on; None where nothing says so, as in a folder."""
    image: np.ndarray
    """[H, W, 3] uint8 RGB, upright."""


class Choice(NamedTuple):
    """Which frames are wanted: `first`, and each `every`-th from there on, before `end`."""

    every: int = 1
    first: int = 0
    end: int | None = None

    def check(self) -> Choice:
        """The same.

        Raises:
            ParameterError: a number is out of range, or no frame could be wanted.
        """
        for name, value, least in ("every", self.every, 1), ("first", self.first, 0):
            if not least <= value <= FRAMES:
                raise ParameterError(f"{name}={shown(value)}: expected {least} to {FRAMES:,}")
        if self.end is not None and not self.first < self.end <= FRAMES:
            told = f"expected more than first={self.first}, at most {FRAMES:,}, or None"
            raise ParameterError(f"end={shown(self.end)}: {told}")
        return self

    def wants(self, index: int) -> bool:
        """Whether this frame is wanted."""
        return index >= self.first and (index - self.first) % self.every == 0 and not self.is_past(index)

    def among(self, count: int) -> int:
        """How many of so many frames are wanted."""
        return len(range(self.first, count if self.end is None else min(count, self.end), self.every))

    def is_past(self, index: int) -> bool:
        """Whether neither this frame nor any behind it is wanted."""
        return index >= FRAMES or (self.end is not None and index >= self.end)
