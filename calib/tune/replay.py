"""The engines' results on each photo, kept on disk, so that a trial of other thresholds runs none of them again.

Only SAM's decoder runs during the search, since its prompts depend on what is tuned. What it said to a region's prompt
is remembered for as long as a photo's trials take, and the masks that it found in boxes for as long as the search does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...runtime.answers.instance import Instance
from ...runtime.answers.result import Result
from ...runtime.datasets import Dataset, Sample
from ...runtime.datasets.sample import Thing
from ...runtime.evaluation.predictors import Words, things_to_dataset, to_dataset
from ...runtime.kept.arrays import read_arrays, write_arrays
from ...runtime.kept.form import Form
from ...runtime.pipelines.worded.replaying import Memory, Replaying
from ...runtime.stage.arrays import to_host
from ...runtime.words.vocabulary import Vocabulary
from .things import ARRAYS, packed, unpacked

LABELS, GIVEN = "labels", "given"
"""Names of the arrays of a record, beside those that the engines made."""

FORM = Form("tune-record", 1, most=1 << 36)


class Recorded(NamedTuple):
    """A photo's labels and what the engines made of it."""

    labels: np.ndarray
    """[H, W] uint16 class index, or `IGNORED`."""
    given: tuple[int, ...] | None
    """The classes whose names are given; None means all."""
    made: Mapping[str, np.ndarray]
    """By names; see `Replaying.answers`."""
    things: tuple[Thing, ...] | None = None
    """Where single things are measured."""


class Recorder:
    """Runs the encoders on a dataset's photos, each once, and keeps the results in a folder.

    A record's name is the hash of all that it follows from: the bundle, backend and precision, the parameters that are
    not tuned, the words, the photo and its labels. So a run that was interrupted goes on, and one with another bundle
    or other photos finds nothing of this one's.

    Attributes:
        encoded: how many photos the engines were run on.
        reused: how many records were there.
    """

    def __init__(
        self,
        segmenter: Replaying,
        dataset: Dataset,
        words: Words,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        things: bool = False,
    ) -> None:
        """A recorder over open engines.

        Args:
            segmenter: the engines, and the parameters in force.
            dataset: the photos.
            words: its vocabulary.
            folder: where records are kept.
            identity: what the results depend on beside photo, labels and words.
            things: whether the photos' single things are recorded too.
        """
        self._things = things
        self._segmenter, self._dataset, self._words = segmenter, dataset, words
        self._folder = folder
        self._identity = msgspec.json.encode(identity, order="sorted")
        self._paths: dict[str, Path] = {}
        self.encoded = self.reused = 0

    def record(self, name: str) -> Recorded:
        """Make a photo's record unless it is there.

        Raises:
            PhotoError, DatasetError: the photo or its labels cannot be read.
            EngineError: an engine failed.
        """
        sample = self._dataset.read(name)
        vocabulary = self._words.given(sample)
        self._paths[name] = path = self._folder / f"{self._key(sample, vocabulary.embeddings)}.record"
        found = _read(path)
        if found:
            self.reused += 1
            return found
        made = self._encode(sample, vocabulary)
        _write(path, made)
        self.encoded += 1
        return made

    def recorded(self, name: str) -> Recorded:
        """The record of a photo that was recorded; made again if it was lost."""
        return _read(self._paths[name]) or self.record(name)

    @property
    def bytes(self) -> int:
        """Size of the records of this run's photos."""
        return sum(path.stat().st_size for path in set(self._paths.values()) if path.is_file())

    def _key(self, sample: Sample, embeddings: np.ndarray) -> str:
        digest = hashlib.sha256(self._identity)
        there = packed(sample.things, sample.labels.shape).values() if self._things and sample.things else ()
        for array in (sample.photo, sample.labels, np.asarray(sample.given or (), np.int64), embeddings, *there):
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _encode(self, sample: Sample, vocabulary: Vocabulary) -> Recorded:
        made = self._segmenter.answers(sample.photo, vocabulary)
        things = sample.things if self._things else None
        return Recorded(sample.labels, sample.given, {name: to_host(array) for name, array in made.items()}, things)


class Replay:
    """Recorded photos under other parameters."""

    def __init__(self, segmenter: Replaying, recorder: Recorder, words: Words) -> None:
        self._segmenter, self._recorder, self._words = segmenter, recorder, words
        self._memories: dict[str, Memory] = {}

    def masks(self, name: str, points: Iterable[Mapping[str, Any]]) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
        """A photo under several settings.

        Args:
            name: of a photo that was recorded.
            points: parameters that go before the segmenter's.

        Returns:
            The labels, [H, W]; and for each point `refined`, where something is refined, and `coarse`: [H, W] uint16
            class index.
        """
        found, (sample, decided) = [], self._deciding(name)
        for point in points:
            result = decided(point)
            refined = point.get("refine", self._segmenter.parameters.refine)
            masks = {"refined": result.mask} if refined else {}
            found.append(
                {kind: to_dataset(mask, sample) for kind, mask in {**masks, "coarse": result.coarse_mask}.items()}
            )
        return sample.labels, found

    def things(
        self, name: str, points: Iterable[Mapping[str, Any]]
    ) -> tuple[tuple[Thing, ...], list[tuple[Instance, ...]]]:
        """A photo's things, and what is found under each of several settings.

        Args:
            name: of a photo that was recorded, with its things.
            points: parameters that go before the segmenter's.
        """
        sample, decided = self._deciding(name)
        return sample.things or (), [things_to_dataset(decided(point).instances(), sample) for point in points]

    def _deciding(self, name: str) -> tuple[Sample, Callable[[Mapping[str, Any]], Result]]:
        """A recorded photo, and what makes results of it."""
        recorded = self._recorder.recorded(name)
        photo = np.broadcast_to(np.uint8(0), (*recorded.labels.shape, 3))  # only a result's picture would need the real
        sample = Sample(photo, recorded.labels, recorded.given, recorded.things)
        memory = self._memories.setdefault(name, {})
        return sample, self._segmenter.deciding(recorded.made, photo, self._words.given(sample), memory)


def _write(path: Path, recorded: Recorded) -> None:
    given = {} if recorded.given is None else {GIVEN: np.asarray(recorded.given)}
    there = {} if recorded.things is None else packed(recorded.things, recorded.labels.shape)
    write_arrays(FORM, path, path.name, {LABELS: recorded.labels, **given, **there, **recorded.made})


def _read(path: Path) -> Recorded | None:
    """A record; None if it is missing or damaged."""
    arrays = read_arrays(FORM, path, path.name)
    if arrays is None or LABELS not in arrays:
        return None
    given, labels = arrays.get(GIVEN), arrays[LABELS]
    made = {name: array for name, array in arrays.items() if name not in (LABELS, GIVEN, *ARRAYS)}
    things = unpacked(arrays, labels.shape) if ARRAYS[0] in arrays else None
    return Recorded(labels, None if given is None else tuple(given.tolist()), made, things)
