"""The real feeds of the stages: the FP32 pipeline runs on the photos, and every session writes down what it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from ...runtime.backends.base import Session
from ...runtime.photo.reading import as_photo
from ...runtime.pipelines.base import Segmenter
from ...runtime.reporting import Reporter
from ...runtime.stage.arrays import Array, to_host
from ...runtime.stage.contract import StageContract
from ...runtime.words.vocabulary import Vocabulary
from .photos import Photo
from .steps import Steps

Feeds = dict[str, np.ndarray]


class Recorder(Session):
    """A session that tells what it is fed and is otherwise the one that it wraps."""

    def __init__(self, inner: Session, tell: Callable[[StageContract, Mapping[str, Array]], None]) -> None:
        super().__init__(inner.contract)
        self.device = inner.device
        self._inner, self._tell = inner, tell

    def put(self, name: str, array: np.ndarray) -> Array:
        """As the wrapped session does."""
        return self._inner.put(name, array)

    def empty(self, name: str, **sizes: int) -> Array:
        """As the wrapped session does."""
        return self._inner.empty(name, **sizes)

    def keep(self, array: Array) -> Array:
        """As the wrapped session does."""
        return self._inner.keep(array)

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        self._tell(self.contract, feeds)
        return self._inner.run_unchecked(feeds, into)

    def _free(self) -> None:
        self._inner.close()


Opener = Callable[[Callable[[Session], Session]], Segmenter]
"""Opens FP32 engines, with something put around every session."""


class Collected:
    """The feeds of a calibration, in files: one for each photo and stage. Nothing is kept in memory.

    A file that is damaged or lost is made anew when it is read, by running its photo.
    """

    def __init__(
        self,
        open_segmenter: Opener,
        vocabulary: Callable[[Segmenter], Vocabulary],
        photos: Sequence[Photo],
        stages: Sequence[str],
        steps: Steps,
        tell: Reporter,
    ) -> None:
        """Feeds that are to be had; `collect` has more of this."""
        self._open, self._vocabulary, self._photos, self._stages = open_segmenter, vocabulary, photos, stages
        self._steps, self._tell = steps, tell
        self._running: tuple[Segmenter, Vocabulary] | None = None
        self._seen: dict[str, Feeds] = {}
        self._seen_on: int | None = None
        self._ran: dict[tuple[int, str], bool] = {}

    def all(self) -> None:
        """Make what is not there, by one pipeline for all photos."""
        try:
            for index in range(len(self._photos)):
                for stage in self._stages:
                    self._feeds(index, stage)
        finally:
            self._close()

    def of(self, contract: StageContract) -> list[Callable[[], Feeds]]:
        """Readers of a stage's feeds, one for each photo on which it ran."""
        stage = contract.stage
        return [partial(self._read, index, stage) for index in range(len(self._photos)) if self._ran_on(index, stage)]

    def _read(self, index: int, stage: str) -> Feeds:
        """Feeds; empty if the stage did not run on this photo."""
        try:
            return self._feeds(index, stage)
        finally:
            self._close()

    def _ran_on(self, index: int, stage: str) -> bool:
        return self._ran[index, stage] if (index, stage) in self._ran else bool(self._read(index, stage))

    def _feeds(self, index: int, stage: str) -> Feeds:
        feeds = self._steps.arrays(f"{stage}-feeds-{index:04d}", partial(self._made, index, stage))
        self._ran[index, stage] = bool(feeds)
        return feeds

    def _made(self, index: int, stage: str) -> Feeds:
        """A stage's feeds on a photo, from a run of the pipeline; the same run for all its stages."""
        if self._seen_on != index:
            self._run(self._photos[index])
            self._seen_on = index
        return self._seen.get(stage, {})

    def _run(self, photo: Photo) -> None:
        if self._running is None:
            segmenter = self._open(lambda session: Recorder(session, self._keep))
            self._running = segmenter, self._vocabulary(segmenter)
        segmenter, words = self._running
        self._tell(f"collecting {photo.path.name}")
        self._seen, self._seen_on = {}, None
        segmenter.segment(as_photo(photo.path, segmenter.parameters.max_pixels), words)

    def _keep(self, contract: StageContract, feeds: Mapping[str, Array]) -> None:
        if contract.stage in self._stages and contract.stage not in self._seen:  # the first call of a photo
            self._seen[contract.stage] = _part(contract, feeds)

    def _close(self) -> None:
        if self._running is not None:
            self._running[0].close()
            self._running = None
        self._seen, self._seen_on = {}, None


def collect(
    open_segmenter: Opener,
    vocabulary: Callable[[Segmenter], Vocabulary],
    photos: Sequence[Photo],
    stages: Sequence[str],
    steps: Steps,
    tell: Reporter,
) -> Collected:
    """Run the pipeline on the photos and keep what the stages are fed.

    Args:
        open_segmenter: opens FP32 engines, with something put around every session.
        vocabulary: what is looked for.
        photos: the calibration set.
        stages: of which feeds are kept.
        steps: where they are kept; photos that are there are not run again.
        tell: is told of every photo.
    """
    collected = Collected(open_segmenter, vocabulary, photos, stages, steps, tell)
    collected.all()
    return collected


def _part(contract: StageContract, feeds: Mapping[str, Array]) -> Feeds:
    """Host copies of a call's feeds, with at most a few rows of the axis that windows or prompts lie along."""
    rows, kept = row_axis(contract), {}
    for spec in contract.inputs:
        array = to_host(feeds[spec.name])
        most = contract.axes[rows].example if rows in contract.axes and spec.shape[:1] == (rows,) else None
        if most is not None and len(array) > most:
            array = array[[i * len(array) // most for i in range(most)]]
        kept[spec.name] = np.array(array)
    return kept


def row_axis(contract: StageContract) -> str:
    """The axis of things that go through together: the first of every output, and of inputs alone; or ""."""
    firsts = {spec.shape[0] if spec.shape else "" for spec in contract.outputs}
    inputs = {spec.shape[0] for spec in contract.inputs if spec.shape and isinstance(spec.shape[0], str)}
    shared = firsts if firsts == inputs else set()
    return str(next(iter(shared))) if len(shared) == 1 else ""
