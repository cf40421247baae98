"""Rounds: all runners in turn on the same photo, and what their times say."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from ..reporting import OVERLAP
from .plan import Outcome

Key = TypeVar("Key", bound=Hashable)


class Figures(msgspec.Struct, frozen=True):
    """Milliseconds over rounds."""

    median: float
    p90: float
    min: float
    max: float


class Series:
    """A runner's record, round by round.

    Masks are kept of the first round only; later ones are compared with them.
    """

    def __init__(self) -> None:
        self.first: Outcome | None = None
        self.whole: list[float] = []
        self.steps: list[Mapping[str, float]] = []
        self.regions: list[int] = []
        self.repeats = 1.0
        """Least share of pixels on which a later mask was the first one."""

    def add(self, outcome: Outcome) -> None:
        """Take another round."""
        if self.first is None:
            self.first = outcome
        self.whole.append(outcome.milliseconds)
        self.steps.append(outcome.steps)
        self.regions.append(outcome.regions)
        self.repeats = min(self.repeats, agreement(self.first.mask, outcome.mask))

    def cut(self, rounds: int) -> None:
        """Forget the rounds after the first so many."""
        for values in (self.whole, self.steps, self.regions):
            del values[rounds:]

    def step(self, name: str) -> list[float]:
        """A step's milliseconds, round by round."""
        return [steps.get(name, 0.0) for steps in self.steps]

    def step_names(self) -> list[str]:
        """In the order in which they were first seen."""
        return list(dict.fromkeys(name for steps in self.steps for name in steps))

    def without(self, stages: Iterable[str]) -> list[float]:
        """Milliseconds of all that is none of these stages, what no step accounts for included.

        What went on beside a stage counts here too.
        """
        names = set(stages) - {OVERLAP}
        return [
            whole + s.get(OVERLAP, 0.0) - sum(s.get(n, 0.0) for n in names)
            for whole, s in zip(self.whole, self.steps, strict=True)
        ]


def alternate(
    runs: Mapping[Key, Callable[[], Outcome]], rounds: int, before: Callable[[int], None] | None = None
) -> dict[Key, Series]:
    """Run everything once a round, so that a slow minute of the machine falls on all; each round begins with the next.

    An interruption (Ctrl-C) after the first round ends it there: the rounds that are whole are returned.

    Args:
        runs: what to run.
        rounds: how often.
        before: called with the round's number before each.
    """
    series: dict[Key, Series] = {key: Series() for key in runs}
    for number in range(rounds):
        try:
            if before is not None:
                before(number)
            for key in rotated(list(runs), number):
                series[key].add(runs[key]())
        except KeyboardInterrupt:
            if number == 0:
                raise
            for each in series.values():
                each.cut(number)
            break
    return series


def rotated(items: Sequence[Key], by: int) -> list[Key]:
    """The items in a circle, from another one on."""
    return [items[(index + by) % len(items)] for index in range(len(items))]


def figures(values: Sequence[float]) -> Figures:
    """Median, 90th percentile, least and largest; at least one value."""
    median, p90 = (float(value) for value in np.percentile(values, (50, 90)))
    return Figures(median, p90, float(min(values)), float(max(values)))


def ratio(reference: Sequence[float], own: Sequence[float]) -> float | None:
    """How many times faster than a reference: the median over rounds of the two times in the same round.

    None where one of them did not take that step.
    """
    if not all(reference) or not all(own) or not own:
        return None
    return float(np.median(np.divide(reference, own)))


def spread(values: Sequence[float]) -> float:
    """The middle half's width over the median: a share that does not mind a single bad round."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return float((high - low) / median) if median else 0.0


def agreement(mask: np.ndarray, other: np.ndarray) -> float:
    """Share of equal pixels; 0 where the sizes differ."""
    return float((mask == other).mean()) if mask.shape == other.shape else 0.0
