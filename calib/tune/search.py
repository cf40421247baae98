"""The search: coordinate descent over small grids. Deterministic, and it never tries more than it is allowed to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .axes import Axis

MIN_GAIN = 1e-4
"""A value is left for another only if that gains more: a hundredth of a point."""

Values = tuple[float, ...]
"""A value for every axis, in the axes' order."""


@dataclass(frozen=True)
class Trial:
    """Something that was tried, and its score."""

    values: dict[str, float]
    """By parameter, all of them."""
    stage: str
    """What the score is the figure of: the mask `coarse` or `refined`, or things."""
    score: float
    """The figure on the photos that are fitted on; NaN where nothing could be counted."""
    changed: str
    """The parameter that differs from the best so far; empty for the first."""


@dataclass
class Search:
    """Trials over some axes, within a budget.

    Attributes:
        axes: what may vary.
        evaluate: values by parameter, several at once, and the stage, to scores.
        budget: how many trials there may be, the first included.
        trials: all so far, in their order.
    """

    axes: Sequence[Axis]
    evaluate: Callable[[list[dict[str, float]], str], list[float]]
    budget: int
    trials: list[Trial] = field(default_factory=list)
    _scores: dict[tuple[str, Values], float] = field(default_factory=dict)

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent."""
        return len(self.trials) >= self.budget

    def score(self, points: Sequence[Mapping[str, float]], stage: str, changed: str = "") -> list[float]:
        """Scores of points; what is not known yet is tried, all at once, as far as the budget goes; else −∞."""
        keys = [(stage, self._values(point)) for point in points]
        new = {key: dict(point) for key, point in zip(keys, points, strict=True) if key not in self._scores}
        new = dict(list(new.items())[: max(0, self.budget - len(self.trials))])
        for (key, point), score in zip(
            new.items(), self.evaluate(list(new.values()), stage) if new else [], strict=True
        ):
            self._scores[key] = score
            self.trials.append(Trial(point, stage, score, changed))
        return [self._scores.get(key, -math.inf) for key in keys]

    def descend(self, start: Mapping[str, float], stage: str, axes: Sequence[Axis]) -> dict[str, float]:
        """Better the axes one after another: over their grids, then near the best for as long as that gains anything.

        An axis that was searched at another stage begins near the best.

        Returns:
            The best point; the start where nothing gains more than `MIN_GAIN`.
        """
        best = dict(start)
        self.score([best], stage)
        for turn in itertools.count():
            before = best
            for axis in axes:
                best = self._line(best, stage, axis)
            if self.exhausted or (turn and best == before):
                return best
        raise AssertionError("the loop has no other end")

    def _line(self, best: dict[str, float], stage: str, axis: Axis) -> dict[str, float]:
        """The best of the points that differ from `best` on one axis; of equal ones the first."""
        points = [best, *({**best, axis.name: value} for value in self._proposed(best, axis))]
        scores = self.score(points, stage, axis.name)
        top = max(range(1, len(points)), key=lambda index: (scores[index], -index), default=0)
        return points[top] if scores[top] > scores[0] + MIN_GAIN else best

    def _proposed(self, best: dict[str, float], axis: Axis) -> list[float]:
        tried = {trial.values[axis.name] for trial in self.trials}
        return axis.near(best[axis.name], tried) if len(tried) > 1 else axis.first(best[axis.name])

    def _values(self, point: Mapping[str, float]) -> Values:
        return tuple(point[axis.name] for axis in self.axes)
