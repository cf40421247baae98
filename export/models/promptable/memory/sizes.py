"""Sizes of a memory."""

from __future__ import annotations

from typing import NamedTuple


class MemorySizes(NamedTuple):
    """The published ones by default."""

    channels: int = 256
    """Of a frame's features."""
    grid: int = 64
    """Features along a side."""
    width: int = 64
    """Channels of a memory; pointers are cut into tokens so wide."""
    layers: int = 4
    mlp: int = 2048
    frames: int = 7
    """Ages that a memory may have: 0, for frames that were prompted, and those of the frames before."""
    timed_pointers: bool = True
    """Whether pointers tell when they were made (SAM 2.1; not SAM 2.0)."""
    occlusion: bool = True
    """Whether a memory tells that the object was hidden (likewise)."""
    latents: int = 0
    """Tokens that each read all of a frame's memory; 0 where the memory is the grid itself (SAM 2)."""
    windows: int = 0
    """Beside them, windows along a side, with a token each."""

    @property
    def placed(self) -> int:
        """Side of the grid that a memory's last tokens lie on."""
        return self.windows if self.latents else self.grid

    @property
    def tokens(self) -> int:
        """Of a frame's memory."""
        return self.latents + self.placed**2
