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
