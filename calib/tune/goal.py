"""Goals of pace: the best mIoU within a time, or the least time within a loss of mIoU."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ...runtime.errors import ParameterError
from .pace import Candidate, Judged
from .search import MIN_GAIN

POINT = 0.01
"""A point of mIoU."""


class Goal(ABC):
    """What is looked for among candidates, the first of which has the settings in force."""

    budget: float = math.inf
    """Milliseconds a photo that nothing may pass."""

    @abstractmethod
    def choose(self, tried: Sequence[Candidate]) -> Candidate:
        """The candidate that serves it best.

        Raises:
            ParameterError: none does.
        """

    @abstractmethod
    def stands(self, judged: Judged) -> bool:
        """Whether photos held out bear the choice out."""

    @abstractmethod
    def __str__(self) -> str:
        """In words."""


@dataclass(frozen=True)
class Within(Goal):
    """The best mIoU of what takes no more than `budget` milliseconds a photo."""

    budget: float

    def choose(self, tried: Sequence[Candidate]) -> Candidate:
        """Of equally good ones the fastest; the settings in force if nothing that fits is better than they are."""
        fitting = [candidate for candidate in tried if candidate.ms <= self.budget and not candidate.dropped]
        if not fitting:
            fastest = min(tried, key=lambda candidate: candidate.ms)
            raise ParameterError(
                f"nothing that was tried takes at most {self.budget:g} ms a photo here; the fastest, "
                f"{in_words(fastest)}, takes {fastest.ms:.0f}. Allow more, or take a smaller recipe or precision"
            )
        best = max(candidate.miou for candidate in fitting)
        good = [candidate for candidate in fitting if candidate.miou >= best - MIN_GAIN]
        return good[0] if tried[0] is good[0] else min(good, key=lambda candidate: candidate.ms)

    def stands(self, judged: Judged) -> bool:
        """It does if it is within the budget there, and the settings in force took too long or are no better."""
        return judged.after.ms <= self.budget and (judged.before.ms > self.budget or judged.gain.gain > 0)

    def __str__(self) -> str:
        return f"the best mIoU within {self.budget:g} ms a photo"


@dataclass(frozen=True)
class Cheapest(Goal):
    """The fastest of what loses at most `loss` points of mIoU against the settings in force."""

    loss: float

    def choose(self, tried: Sequence[Candidate]) -> Candidate:
        """The fastest; at worst the settings in force."""
        least = tried[0].miou - self.loss * POINT
        return min((candidate for candidate in tried if candidate.miou >= least), key=lambda candidate: candidate.ms)

    def stands(self, judged: Judged) -> bool:
        """It does if it is faster there too, and the loss no greater."""
        return judged.after.ms < judged.before.ms and judged.gain.gain >= -self.loss * POINT

    def __str__(self) -> str:
        return f"the fastest within {self.loss:g} points of mIoU"


def in_words(candidate: Candidate) -> str:
    """A candidate's settings."""
    return ", ".join(f"{name}={str(value).lower()}" for name, value in candidate.values.items())


def goal_of(budget_ms: float | None, max_loss: float | None) -> Goal | None:
    """The goal that options ask for; None if they ask for none."""
    if budget_ms is not None:
        return Within(budget_ms)
    return None if max_loss is None else Cheapest(max_loss)
