"""Words into video: what a segmenter finds on key frames becomes things that a tracker follows.

On each key frame the tracker goes first. Things that the segmenter finds there and that lie where a thing of the same
class is followed already (by the masks' IoU, the largest first) are that thing; the others join, each prompted by its
mask. Whoever has joined keeps its identity, seen by the segmenter again or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..answers.instance import Instance
from ..boundary.arguments import public
from ..errors import ParameterError, shown
from ..evaluation.tracks import region_score
from .answer import FrameAnswer, seen_as
from .frame import Frame


class Seen(Protocol):
    """A thing in a frame, as a tracker answers."""

    @property
    def id(self) -> int:
        """The number that it was prompted with."""

    @property
    def mask(self) -> np.ndarray:
        """[H, W] bool at the frame's size; empty where it is not in sight."""


class Stepped(Protocol):
    """A frame's answer."""

    @property
    def objects(self) -> Sequence[Seen]:
        """The things that are followed."""


class Follower(Protocol):
    """What follows things: a `Tracker`, or anything that does the same."""

    def prompt(self, frame: Any, object_id: int, *, mask: np.ndarray, index: int) -> Seen:
        """Have a thing join, on the frame that was stepped last."""

    def step(self, frame: Any, *, index: int) -> Stepped:
        """Follow all things into the next frame. It is not called before one has joined."""


class Joining(NamedTuple):
    """When things join, and which."""

    every: int = 10
    """Frames from one key frame to the next."""
    least_iou: float = 0.5
    """Of masks that are the same thing."""
    min_area: int = 1
    """Pixels of a thing that may join."""
    most: int = 64
    """Things that are followed; later ones are left out."""

    def check(self) -> Joining:
        """The same.

        Raises:
            ParameterError: a number is out of range.
        """
        if self.every < 1 or self.min_area < 1 or not 1 <= self.most <= np.iinfo(np.uint16).max:
            raise ParameterError(f"{shown(self)}: expected every, min_area and most from 1 on")
        if not 0 < self.least_iou <= 1:
            raise ParameterError(f"least_iou={shown(self.least_iou)}: expected more than 0, at most 1")
        return self


@dataclass(frozen=True)
class _Known:
    class_index: int
    class_name: str
    score: float


@public("follower")  # whose type is a protocol
def follow_words(
    frames: Iterable[Frame],
    find: Callable[[np.ndarray], Sequence[Instance]],
    follower: Follower,
    joining: Joining = Joining(),  # noqa: B008
) -> Iterator[tuple[Frame, FrameAnswer]]:
    """Find things by words on key frames, and follow them through a clip.

    Args:
        frames: of the clip. The first and every so many-th of them is a key frame.
        find: gives the instances of an image [H, W, 3] uint8 RGB, for example
            `lambda image: segmenter.segment(image, vocabulary).instances()`. Background and stuff should not be among
            them.
        follower: a tracker without things in it yet.
        joining: when things join, and which.

    Returns:
        Frames with what is in sight, by identities from 1 on in the order of joining. A thing's score is that which the
        segmenter gave it when it joined.

    Raises:
        ParameterError: a number of `joining` is out of range.
    """
    return _follow(frames, find, follower, joining.check())


def _follow(
    frames: Iterable[Frame], find: Callable[[np.ndarray], Sequence[Instance]], follower: Follower, joining: Joining
) -> Iterator[tuple[Frame, FrameAnswer]]:
    known: dict[int, _Known] = {}
    for count, frame in enumerate(frames):
        masks: dict[int, np.ndarray] = {}
        if known:
            masks = {each.id: each.mask for each in follower.step(frame.image, index=count).objects}
        if count % joining.every == 0:
            for found in newcomers(find(frame.image), masks, known, joining):
                identity = len(known) + 1
                known[identity] = _Known(found.class_index, found.class_name, found.score)
                joined = follower.prompt(frame.image, identity, mask=found.mask.decode(), index=count)
                masks[identity] = joined.mask
        yield frame, _answer(frame, masks, known)


def newcomers(
    found: Sequence[Instance], masks: dict[int, np.ndarray], known: dict[int, Any], joining: Joining
) -> list[Instance]:
    """Those of the found that are followed by nobody yet, the largest first, as many as may join.

    Args:
        found: on a key frame.
        masks: [H, W] bool of what is followed, by identity.
        known: of each identity something with a `class_index`.
        joining: which may join.
    """
    pairs = sorted(
        (-region_score(own, mask), number, identity)
        for number, (each, own) in enumerate((each, each.mask.decode()) for each in found)
        for identity, mask in masks.items()
        if known[identity].class_index == each.class_index
    )
    matched: set[int] = set()
    taken: set[int] = set()
    for iou, number, identity in pairs:
        if -iou >= joining.least_iou and number not in matched and identity not in taken:
            matched.add(number)
            taken.add(identity)
    new = [each for number, each in enumerate(found) if number not in matched and each.area >= joining.min_area]
    return sorted(new, key=lambda each: -each.area)[: max(0, joining.most - len(known))]


def _answer(frame: Frame, masks: dict[int, np.ndarray], known: dict[int, _Known]) -> FrameAnswer:
    seen = []
    for identity, mask in masks.items():
        instance, about = seen_as(identity, mask, score=known[identity].score), known[identity]
        if instance is not None:
            seen.append(replace(instance, class_index=about.class_index, class_name=about.class_name))
    return FrameAnswer(frame.number, frame.seconds, tuple(seen))
