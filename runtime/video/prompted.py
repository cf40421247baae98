"""Prompts into video: things that were pointed out on some frames are followed through the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ..boundary.arguments import public
from ..errors import PromptError
from .answer import FrameAnswer, seen_as
from .follower import Follower
from .frame import Frame
from .prompts import ObjectPrompt

NAMES = ("thing",)
"""Of the one class that things without words have."""


@public("follower")  # whose type is a protocol
def follow_prompts(
    frames: Iterable[Frame], prompts: Sequence[ObjectPrompt], follower: Follower
) -> Iterator[tuple[Frame, FrameAnswer]]:
    """Follow things from the frames on that they are pointed out on.

    A prompt on a frame that its thing was followed into is a correction.

    Args:
        frames: of the clip, in the order in which things are followed: backward, if they come so.
        prompts: one for a thing and frame.
        follower: a tracker without things in it yet.

    Returns:
        Frames with what is in sight; a thing's score is the probability that it is.

    Raises:
        PromptError: a prompt cannot be used, or its frame did not come.
    """
    return _follow(frames, prompts, follower)


def _follow(
    frames: Iterable[Frame], prompts: Sequence[ObjectPrompt], follower: Follower
) -> Iterator[tuple[Frame, FrameAnswer]]:
    waiting: dict[int, list[ObjectPrompt]] = {}
    for prompt in prompts:
        waiting.setdefault(prompt.check().frame, []).append(prompt)
    followed: set[int] = set()
    for count, frame in enumerate(frames):
        asked = waiting.pop(frame.number, [])
        if any(each.object_id in followed for each in asked):  # a correction reads what was followed into the frame
            follower.step(frame.image, index=count)
        for each in asked:
            _ask(follower, frame, each, count)
            followed.add(each.object_id)
        objects = follower.step(frame.image, index=count).objects if followed else ()
        seen = (seen_as(each.id, each.mask, score=probability(each.score), names=NAMES) for each in objects)
        yield frame, FrameAnswer(frame.number, frame.seconds, tuple(each for each in seen if each is not None))
    if waiting:
        left = next(iter(waiting.values()))[0]
        raise PromptError(f"{left}: the clip was read to its end, or to where it is damaged, without this frame")


def _ask(follower: Follower, frame: Frame, prompt: ObjectPrompt, index: int) -> None:
    """Prompt one thing.

    Raises:
        PromptError: says which thing and frame the refused prompt is about.
    """
    told = {"points": prompt.points, "labels": prompt.labels, "box": prompt.box, "mask": prompt.mask}
    try:
        follower.prompt(frame.image, prompt.object_id, **told, index=index)
    except PromptError as error:
        raise PromptError(f"{prompt}: {error}") from error


def probability(logit: float) -> float:
    """A logit as a probability."""
    return 0.5 * (1 + math.tanh(logit / 2))
