"""Following things through a clip forward, backward, or both ways from where they were pointed out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..answers.instance import Instance
from .answer import FrameAnswer
from .backward import backward
from .clip import Clip
from .frame import Frame

Answers = Iterator[tuple[Frame, FrameAnswer]]
Follow = Callable[[Iterable[Frame]], Answers]
"""Follows things through frames, in their order; begun anew at each call."""


class Way(NamedTuple):
    """How a clip is gone through."""

    forward: bool
    backward: bool


WAYS = {"forward": Way(True, False), "backward": Way(False, True), "both": Way(True, True)}


def follow_ways(
    clip: Clip,
    follow: Follow,
    way: Way,
    begun: Mapping[int, int],
    watched: Callable[[str, Iterable[Frame]], Iterable[Frame]] = lambda doing, frames: frames,
) -> Answers:
    """Answers about all frames, the first first, whichever way things are followed.

    Of the way backward only what was found is held, as run lengths, until the frames come by again.

    Args:
        clip: to follow things in.
        follow: follows them through frames.
        way: how.
        begun: by thing, the first frame that it was pointed out on. Where both ways are gone, its answer up to that
            frame is of the way backward.
        watched: is given frames, and a word for what is done with them, and gives the same frames.
    """
    behind: dict[int, Sequence[Instance]] = {}
    if way.backward:
        answers = follow(watched("tracking backward", backward(clip)))
        behind = {frame.number: answer.instances for frame, answer in answers}
    until = begun if way.forward else {}
    ahead = follow(watched("tracking", clip)) if way.forward else map(_nothing, watched("writing", clip))
    for frame, answer in ahead:
        yield frame, _joined(answer, behind.get(frame.number, ()), until)


def _nothing(frame: Frame) -> tuple[Frame, FrameAnswer]:
    return frame, FrameAnswer(frame.number, frame.seconds, ())


def _joined(ahead: FrameAnswer, behind: Sequence[Instance], until: Mapping[int, int]) -> FrameAnswer:
    """A frame's answer of both ways; `until` has by thing the frame from which on the way forward has it."""
    before = [each for each in behind if ahead.number < until.get(each.id, math.inf)]
    instances = tuple(sorted([*before, *ahead.instances], key=lambda each: each.id)) if before else ahead.instances
    return FrameAnswer(ahead.number, ahead.seconds, instances)
