"""SAM's decoder with a memory: what it answered to a prompt need not be asked again while the photo is the same."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from ..backends.base import Session
from ..stage.arrays import Array, to_host

MOST_BYTES = 128 << 20
"""Of answers that are kept: those to about 500 regions of SAM's usual size."""


class RememberingDecoder(Session):
    """A decoder that answers a prompt which it has seen from memory: of the same box, point and mask, of one photo.

    Closing it leaves the engine open, which is the segmenter's. For one thread at a time.

    Attributes:
        asked: prompts that it was given.
        run_on: those of them that the engine was run on.
    """

    def __init__(self, decoder: Session, whole: Collection[str], most_bytes: int = MOST_BYTES) -> None:
        """A memory before an engine.

        Args:
            decoder: the engine.
            whole: its inputs that are the photo's; all others have a row for each prompt.
            most_bytes: of answers that are kept; those that were asked for longest ago go first.
        """
        super().__init__(decoder.contract)
        self.device = decoder.device
        self._decoder, self._whole, self._most = decoder, frozenset(whole), most_bytes
        self._answers: OrderedDict[bytes, dict[str, np.ndarray]] = OrderedDict()
        self._bytes = 0
        self.asked = self.run_on = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the answers that are kept."""
        return self._bytes

    def forget(self) -> None:
        """Begin with another photo."""
        self._answers.clear()
        self._bytes = 0

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        assert not into, "its answers are kept, and so come to the host"
        of_photo = {name: feed for name, feed in feeds.items() if name in self._whole}
        prompts = {name: to_host(feed) for name, feed in feeds.items() if name not in self._whole}
        keys = [_digest(rows) for rows in zip(*prompts.values(), strict=True)]
        found = {key: self._answers[key] for key in keys if key in self._answers}
        first = {key: index for index, key in reversed(list(enumerate(keys))) if key not in found}
        new = sorted(first.values())
        self.asked += len(keys)
        self.run_on += len(new)
        if new:
            rows = {name: np.ascontiguousarray(feed[new]) for name, feed in prompts.items()}
            outputs = self._decoder.run({**of_photo, **rows})
            for place, index in enumerate(new):
                found[keys[index]] = {name: output[place].copy() for name, output in outputs.items()}
        self._keep(found)
        return {name: np.stack([found[key][name] for key in keys]) for name in self.contract.output_names}

    def _keep(self, answers: Mapping[bytes, dict[str, np.ndarray]]) -> None:
        """Keep answers as the newest, and as many of the others as there is room for."""
        for key, answer in answers.items():
            if key not in self._answers:
                self._bytes += _size(answer)
            self._answers[key] = answer
            self._answers.move_to_end(key)
        while self._bytes > self._most and self._answers:
            self._bytes -= _size(self._answers.popitem(last=False)[1])


def _size(answer: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in answer.values())


def _digest(rows: Iterable[np.ndarray]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(np.ascontiguousarray(row).data)
    return digest.digest()
