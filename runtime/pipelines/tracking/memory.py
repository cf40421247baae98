"""What a tracker remembers of an object: bounded, whatever the video's length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...stage.arrays import Array
from .stages import POINTER_FRAMES, TRACKED_FRAMES


class Moment(NamedTuple):
    """An object on a frame."""

    memory: Array
    """[T, D] float32, where the engine that reads it computes."""
    pointer: np.ndarray
    """[C] float32."""
    logits: np.ndarray
    """[m, m] float32, of its mask."""
    score: float
    """The logit that it is there."""


class Reading(NamedTuple):
    """What a frame reads: the same for objects that share a call."""

    ages: tuple[int, ...]
    """Of the memories: 0 of a prompted frame, else how many frames ago."""
    distances: tuple[float, ...]
    """Of the pointers, as shares of the longest that is told."""


class Read(NamedTuple):
    """What an object brings to it."""

    reading: Reading
    memories: list[Array]
    """[T, D] each."""
    pointers: list[np.ndarray]
    """[C] each."""


@dataclass
class ObjectMemory:
    """The moments of an object.

    Attributes:
        prompted: by frame; kept until the object is forgotten.
        tracked: by frame; of these only the ones within reach of the last are kept.
        corrected: those of the tracked frames whose answers prompts gave.
    """

    prompted: dict[int, Moment] = field(default_factory=dict)
    tracked: dict[int, Moment] = field(default_factory=dict)
    corrected: set[int] = field(default_factory=set)

    def keep(self, frame: int, moment: Moment, *, first: bool) -> None:
        """Remember a moment, and let go of tracked ones that no later frame reads.

        Args:
            frame: its index.
            moment: the object on it.
            first: whether it was prompted there before anything was tracked.
        """
        if first:  # a prompt far away takes nothing from where the video stands
            self.prompted[frame] = moment
            return
        self.tracked[frame] = moment
        for old in [each for each in self.tracked if abs(each - frame) > POINTER_FRAMES + 1]:
            del self.tracked[old]
            self.corrected.discard(old)

    def correct(self, frame: int, moment: Moment) -> None:
        """Remember the answer that a prompt gave on a tracked frame in place of the one that was found."""
        self.keep(frame, moment, first=False)
        self.corrected.add(frame)

    def has_answer(self, frame: int) -> bool:
        """Whether a prompt answers this frame, so that nothing has to be found there."""
        return frame in self.prompted or frame in self.corrected

    def on(self, frame: int) -> Moment | None:
        """The object on a frame, if that is remembered."""
        return self.prompted.get(frame) or self.tracked.get(frame)

    def read(self, frame: int, *, reverse: bool, most: int, longest: int) -> Read:
        """What a frame reads.

        Args:
            frame: its index.
            reverse: whether the video runs backward.
            most: prompted frames that are read.
            longest: the distance that counts as 1.
        """
        way = -1 if reverse else 1
        chosen = closest(frame, tuple(self.prompted), most)
        others = {key: moment for key, moment in self.prompted.items() if key not in chosen} | self.tracked
        near = [(age, others[frame - way * age]) for age in range(1, TRACKED_FRAMES + 1) if frame - way * age in others]
        moments = [(0, self.prompted[key]) for key in chosen] + near
        back = [(step, frame - way * step) for step in range(1, longest + 1)]
        tracked = [(step, self.tracked[key]) for step, key in back if key in self.tracked]
        past = [key for key in chosen if (frame - key) * way >= 0]
        pointed = [((frame - key) * way, self.prompted[key]) for key in past] + tracked
        reading = Reading(tuple(age for age, _ in moments), tuple(step / longest for step, _ in pointed))
        return Read(reading, [each.memory for _, each in moments], [each.pointer for _, each in pointed])


def closest(frame: int, frames: tuple[int, ...], most: int) -> tuple[int, ...]:
    """At most so many frames: the last before, the first from this one on, then the closest of the rest.

    Args:
        frame: the present one.
        frames: to choose from.
        most: at least 1.
    """
    if len(frames) <= most:
        return frames
    before, after = [each for each in frames if each < frame], [each for each in frames if each >= frame]
    ends = ([max(before)] if before else []) + ([min(after)] if after else [])
    rest = sorted((each for each in frames if each not in ends), key=lambda each: abs(each - frame))
    return tuple((ends + rest)[:most])


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Finite float32 values rounded to the nearest of bfloat16, ties to even; still as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded: np.ndarray = ((bits + even + np.uint32(0x7FFF)) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded
