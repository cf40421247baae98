"""A clip from its end to its beginning, a portion of frames in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator

from .clip import Clip
from .frame import Choice, Frame

PORTION = 1 << 28
"""Bytes of frames that are held at once, unless a single frame has more."""


def backward(clip: Clip, most: int = PORTION) -> Iterator[Frame]:
    """The wanted frames of a clip, the last first.

    The clip is read once to know its frames, and then from its beginning to each portion. Where it is damaged, the
    frames before the damage come, and `clip.damage` tells.

    Args:
        clip: read from its beginning several times.
        most: bytes that are held.

    Raises:
        VideoError: as reading the clip raises it.
    """
    numbers, size = [], 1
    for frame in clip:
        numbers.append(frame.number)
        size = frame.image.nbytes
    step = max(1, most // size)
    for last in range(len(numbers), 0, -step):
        wanted = numbers[max(0, last - step) : last]
        part = Choice(clip.choice.every, wanted[0], wanted[-1] + 1)
        yield from reversed(list(type(clip)(clip.path, part, clip.max_pixels)))
