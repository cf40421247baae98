"""What tuning makes better: the mIoU of masks, or the F1 of single things."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...runtime.datasets import Dataset
from ...runtime.evaluation.metrics import confusion
from ...runtime.evaluation.precision import matches
from ...runtime.evaluation.predictors import KINDS
from ...runtime.pipelines.base import Segmenter
from .noise import Tally
from .replay import Replay
from .things import ThingTally

REFINED, COARSE = KINDS
THINGS = "F1"
"""The kind of figure that counts where there are things."""


class Yardstick(ABC):
    """A figure of photos, and how it is taken.

    Attributes:
        kind: what counts.
    """

    word: ClassVar[str]
    """The figure's name."""
    column: ClassVar[str]
    """What kinds are kinds of."""
    undefined: ClassVar[str]
    """What is said where there is nothing to take it on."""
    kind: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """All that is measured at last, what counts first."""
        return (self.kind,)

    @abstractmethod
    def tally(self) -> Any:
        """A tally, to add photos to."""

    @abstractmethod
    def compare(self, name: str, points: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[dict[str, Any]]:
        """A recorded photo under several settings: what tallies take of each, by kind."""

    @abstractmethod
    def figures(self, tallies: Mapping[str, Any]) -> dict[str, float]:
        """What is told of tallies by kind; what counts is first, and has the name of `kind`."""


class OfMasks(Yardstick):
    """The mIoU of the refined mask, or of the coarse one where nothing is refined."""

    word, column = "mIoU", "mask"
    undefined = "no pixel of the photos to fit on has a label that counts; mIoU is not defined"

    def __init__(self, replay: Replay, classes: int, refined: bool) -> None:
        self._replay, self._classes = replay, classes
        self.kind = REFINED if refined else COARSE

    @property
    def kinds(self) -> tuple[str, ...]:
        """The coarse mask is told beside the refined one."""
        return tuple(dict.fromkeys((self.kind, COARSE)))

    def tally(self) -> Tally:
        """Of confusions."""
        return Tally(self._classes)

    def compare(self, name: str, points: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[dict[str, Any]]:
        """Confusions. Nothing is refined unless `refined` is asked for."""
        labels, found = self._replay.masks(name, [{**point, "refine": REFINED in kinds} for point in points])
        return [{kind: confusion(labels, masks[kind], self._classes) for kind in kinds} for masks in found]

    def figures(self, tallies: Mapping[str, Tally]) -> dict[str, float]:
        """The mIoU of each mask."""
        return {kind: tally.miou() for kind, tally in tallies.items()}


class OfThings(Yardstick):
    """The F1 of single things by their masks, at an IoU of 0.5.

    Average precision is no measure of a threshold: whatever is added below the surest instances can only raise it.
    """

    word, column, kind = "F1", "figure", THINGS
    undefined = "nothing is there in the photos to fit on; F1 is not defined"

    def __init__(self, replay: Replay) -> None:
        """Of recorded photos.

        Raises:
            MissingExtraError: pycocotools is not installed.
        """
        matches((), ())  # which would miss it: now, and not when all photos have gone through the engines
        self._replay = replay

    def tally(self) -> ThingTally:
        """Of matches."""
        return ThingTally()

    def compare(self, name: str, points: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[dict[str, Any]]:
        """Matches."""
        there, found = self._replay.things(name, points)
        return [{THINGS: matches(each, there)} for each in found]

    def figures(self, tallies: Mapping[str, ThingTally]) -> dict[str, float]:
        """F1, and its two sides."""
        return tallies[THINGS].figures()


def yardstick_of(segmenter: Segmenter, dataset: Dataset, replay: Replay) -> Yardstick:
    """What counts for a pipeline: single things where it finds them."""
    if segmenter.manifest.recipe.family.things:
        return OfThings(replay)
    return OfMasks(replay, len(dataset.classes), segmenter.parameters.refine)
