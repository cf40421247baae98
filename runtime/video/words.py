"""Words into video: what a segmenter finds on key frames becomes things that a tracker follows.

On each key frame the tracker goes first. Things that the segmenter finds there and that lie where a thing of the same
class is followed already (by the masks' IoU, the largest first) are that thing; the others join, each prompted by its
mask. Whoever has joined keeps its identity, seen by the segmenter again or not.

A thing out of sight stays followed, since it may come back. Where there is no room for one more, the thing that has
been out of sight the longest is let go of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..answers.instance import Instance
from ..boundary.arguments import public
from ..errors import ParameterError, shown, warn
from ..geometry.overlap import mask_iou
from .answer import MOST_IDENTITIES, FrameAnswer, seen_as
from .follower import Follower
from .frame import Frame


class Joining(NamedTuple):
    """When things join, and which."""

    every: int = 10
    """Frames from one key frame to the next."""
    least_iou: float = 0.5
    """Of masks that are the same thing."""
    min_area: int = 1
    """Pixels of a thing that may join."""
    most: int = 64
    """Things that are followed at once."""
    rejoin: bool = False
    """Whether a newcomer is taken for a thing of its class that is out of sight, the one seen last, where there is one.
    That is a guess: right for a clip with one thing of each name, wrong where a second cat comes when the first is
    gone."""

    def check(self) -> Joining:
        """The same.

        Raises:
            ParameterError: a number is out of range.
        """
        if self.every < 1 or self.min_area < 1 or not 1 <= self.most <= MOST_IDENTITIES:
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
    things = _Things(follower, joining)
    for count, frame in enumerate(frames):
        masks = things.step(frame, count)
        if count % joining.every == 0 and things.may_join(count):
            new = newcomers(find(frame.image), masks, things.known, joining)
            if sum(things.take(each, frame, count) for each in new):
                masks = things.step(frame, count)  # so that who joins and who was there are one answer
        yield frame, _answer(frame, masks, things.known)


class _Things:
    """The things that are followed."""

    def __init__(self, follower: Follower, joining: Joining) -> None:
        self.known: dict[int, _Known] = {}
        self._follower, self._joining = follower, joining
        self._given = 0
        self._seen: dict[int, int] = {}
        """By thing, the last frame that it was in sight in."""

    def step(self, frame: Frame, count: int) -> dict[int, np.ndarray]:
        """Their masks in a frame."""
        if not self.known:
            return {}
        masks = {each.id: each.mask for each in self._follower.step(frame.image, index=count).objects}
        self._seen |= {identity: count for identity, mask in masks.items() if mask.any()}
        return masks

    def may_join(self, count: int) -> bool:
        """Whether there is room for a newcomer, or somebody whom it may be, or whose place it may have."""
        lost = any(seen < count for seen in self._seen.values())
        full, out = len(self.known) >= self._joining.most, self._given == MOST_IDENTITIES
        if (not full and not out) or (lost and (self._joining.rejoin or not out)):
            return True
        warn(f"as many things are followed as may be (at once {self._joining.most}); nothing more is looked for")
        return False

    def take(self, found: Instance, frame: Frame, count: int) -> bool:
        """Have a newcomer join; False if there is no room."""
        identity = self._identity_of(found, count)
        if identity is None:
            warn(f"more things are found than are followed at once ({self._joining.most}); the smaller are left out")
            return False
        self.known[identity] = _Known(found.class_index, found.class_name, found.score)
        self._follower.prompt(frame.image, identity, mask=found.mask.decode(), index=count)
        self._seen[identity] = count
        return True

    def _identity_of(self, found: Instance, count: int) -> int | None:
        lost = sorted((seen, identity) for identity, seen in self._seen.items() if seen < count)
        own = [identity for _, identity in lost if self.known[identity].class_index == found.class_index]
        if own and self._joining.rejoin:
            return own[-1]
        if self._given == MOST_IDENTITIES or (len(self.known) >= self._joining.most and not lost):
            return None
        if len(self.known) >= self._joining.most:
            self._forget(lost[0][1])
        self._given += 1
        return self._given

    def _forget(self, identity: int) -> None:
        self._follower.forget(identity)
        del self.known[identity], self._seen[identity]


def newcomers(
    found: Sequence[Instance], masks: dict[int, np.ndarray], known: dict[int, Any], joining: Joining
) -> list[Instance]:
    """Those of the found that are followed by nobody yet and may join, the largest first.

    Args:
        found: on a key frame.
        masks: [H, W] bool of what is followed, by identity.
        known: of each identity something with a `class_index`.
        joining: which may join.
    """
    pairs = sorted(
        (-mask_iou(own, mask), number, identity)
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
    return sorted(new, key=lambda each: -each.area)


def _answer(frame: Frame, masks: dict[int, np.ndarray], known: dict[int, _Known]) -> FrameAnswer:
    seen = []
    for identity, mask in masks.items():
        instance, about = seen_as(identity, mask, score=known[identity].score), known[identity]
        if instance is not None:
            seen.append(replace(instance, class_index=about.class_index, class_name=about.class_name))
    return FrameAnswer(frame.number, frame.seconds, tuple(seen))
