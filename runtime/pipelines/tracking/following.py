"""Objects followed from frame to frame: what each step of the loop does, without engines' or users' details."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..prompt_input import Prompt
from .answers import batches
from .calls import Calls, Said, Seen
from .choosing import chosen, given_mask
from .memory import Moment, ObjectMemory, Read
from .stages import GIVEN, GIVEN_EMPTY, POINTER_FRAMES

LIMIT = 32.0
"""Logits that go back into the decoder lie within ± this."""


class Place(NamedTuple):
    """Where in the video."""

    frame: int
    """Its index."""
    reverse: bool = False


class Following:
    """The loop of Ravi et al., SAM 2, on some engines."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.parameters = calls, calls.parameters
        self.objects: dict[int, ObjectMemory] = {}
        self._asked_on: set[int] = set()
        """Frames that were prompted and not stepped on since."""

    def prompt(self, seen: Seen, place: Place, key: int, prompt: Prompt, mask: Any = None) -> Moment:
        """Answer a prompt, and remember it.

        Args:
            seen: the frame.
            place: its index, and the way.
            key: the object's number.
            prompt: points and a box; unused with a mask.
            mask: [H, W] bool, taken as the answer.
        """
        known = self.objects.get(key, ObjectMemory())
        first = place.frame not in known.tracked
        given = mask is not None
        moment = self._given(seen, mask) if given else self._asked(seen, place, known, prompt, first)
        self.objects[key] = known
        self._asked_on.add(place.frame)
        if first:
            known.keep(place.frame, moment, first=True)
        else:
            known.correct(place.frame, moment)
        return moment

    def step(self, seen: Seen, place: Place) -> dict[int, Moment]:
        """All objects on a frame, in the order in which they joined."""
        own = {key: each for key, each in self.objects.items() if each.has_answer(place.frame)}
        others = [key for key in self.objects if key not in own]
        hard = self.parameters.binarise_all and bool(own) and place.frame in self._asked_on
        for keys, reads in self._groups(others, place):
            for part in batches(range(len(keys)), self.parameters.prompt_batch):
                features = self.calls.recall(seen, [reads[k] for k in part])
                said = self.calls.ask(seen, features)
                moments = self._moments(seen, said, several=True, hard=hard)
                for k, moment in zip(part, moments, strict=True):
                    self.objects[keys[k]].keep(place.frame, moment, first=False)
        self._asked_on.discard(place.frame)
        found = {key: each.on(place.frame) for key, each in self.objects.items()}
        return {key: moment for key, moment in found.items() if moment is not None}

    def _groups(self, keys: Sequence[int], place: Place) -> Iterator[tuple[list[int], list[Read]]]:
        """Objects that read the same frames, together."""
        groups: dict[Any, tuple[list[int], list[Read]]] = {}
        for key in keys:
            read = self._read(self.objects[key], place)
            together = groups.setdefault(read.reading, ([], []))
            together[0].append(key)
            together[1].append(read)
        yield from groups.values()

    def _read(self, known: ObjectMemory, place: Place) -> Read:
        told = self.parameters.video_frames
        longest = max(1, min(told - 1, POINTER_FRAMES)) if told else POINTER_FRAMES
        most = self.parameters.prompted_frames
        return known.read(place.frame, reverse=place.reverse, most=most, longest=longest)

    def _asked(self, seen: Seen, place: Place, known: ObjectMemory, prompt: Prompt, first: bool) -> Moment:
        """The answer to points and boxes."""
        before = known.on(place.frame)
        features = seen.features if first else self.calls.recall(seen, [self._read(known, place)])
        given = prompt.points is not None or prompt.box is not None
        if before is not None and given and self.parameters.previous_logits:
            prompt = Prompt(prompt.points, prompt.labels, prompt.box, before.logits.clip(-LIMIT, LIMIT))
        said = self.calls.ask(seen, features, prompt)
        points = 0 if prompt.points is None else len(prompt.points)
        several = points + 2 * (prompt.box is not None) <= 1
        return self._moments(seen, said, several=several, hard=True)[0]

    def _given(self, seen: Seen, mask: Any) -> Moment:
        """A mask as answer: the decoder is only asked for its pointer."""
        given = given_mask(mask, (seen.photo.shape[0], seen.photo.shape[1]), self.calls.sizes)
        kind = GIVEN_EMPTY if given.empty else GIVEN
        said = self.calls.ask(seen, seen.features, Prompt(mask=given.prompt), kind)
        _, pointer = chosen(said.logits[0], said.iou[0], several=True)
        score = np.array([-10.0 if given.empty else 10.0], np.float32)
        memory = self.calls.remember(seen, given.whole[None], np.ones(1, bool), score)
        return Moment(memory[0], said.pointers[0, pointer].copy(), given.logits, float(score[0]))

    def _moments(self, seen: Seen, said: Said, *, several: bool, hard: bool) -> list[Moment]:
        """What the decoder said, chosen and remembered."""
        picks = [chosen(logits, iou, several) for logits, iou in zip(said.logits, said.iou, strict=True)]
        logits = np.stack([said.logits[k, mask] for k, (mask, _) in enumerate(picks)])
        binarise = np.full(len(picks), hard)
        memory = self.calls.remember(seen, logits, binarise, said.scores[:, 0])
        return [
            Moment(memory[k], said.pointers[k, pointer].copy(), logits[k], float(said.scores[k, 0]))
            for k, (_, pointer) in enumerate(picks)
        ]
