"""The real feeds of the stages: the FP32 pipeline runs on the photos, and every session writes down what it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

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

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        self._tell(self.contract, feeds)
        return self._inner.run_unchecked(feeds, into)

    def _free(self) -> None:
        self._inner.close()


class Collected:
    """The feeds of a calibration, in files: one a photo. Nothing is kept in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)

    def of(self, contract: StageContract, most: int | None = None) -> list[Callable[[], Feeds]]:
        """Readers of a stage's feeds, one for each photo on which it ran.

        Args:
            contract: the stage's.
            most: evenly chosen, if there are more; None means all.
        """
        first = f"{contract.stage}/{contract.input_names[0]}"
        there = [path for path in self.files if first in _names(path)]
        if most is not None and len(there) > most:
            there = [there[i * len(there) // most] for i in range(most)]
        return [partial(_read, path, contract) for path in there]


def collect(
    open_segmenter: Callable[[Callable[[Session], Session]], Segmenter],
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
    seen: dict[str, Feeds] = {}

    def keep(contract: StageContract, feeds: Mapping[str, Array]) -> None:
        if contract.stage in stages and contract.stage not in seen:  # the first call of a photo
            seen[contract.stage] = _part(contract, feeds)

    names = [f"feeds-{index:04d}" for index in range(len(photos))]
    if any(not (steps.folder / f"{name}.npz").is_file() for name in names):
        with open_segmenter(lambda session: Recorder(session, keep)) as segmenter:
            words = vocabulary(segmenter)

            def make(photo: Photo) -> Feeds:
                seen.clear()
                segmenter.segment(as_photo(photo.path, segmenter.parameters.max_pixels), words)
                return {f"{stage}/{name}": array for stage, feeds in seen.items() for name, array in feeds.items()}

            for name, photo in zip(names, photos, strict=True):
                tell(f"collecting {photo.path.name}")
                steps.arrays(name, partial(make, photo))
    return Collected([steps.folder / f"{name}.npz" for name in names])


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


def _names(path: Path) -> list[str]:
    with np.load(path) as arrays:
        return list(arrays.files)


def _read(path: Path, contract: StageContract) -> Feeds:
    with np.load(path) as arrays:
        return {name: arrays[f"{contract.stage}/{name}"] for name in contract.input_names}
