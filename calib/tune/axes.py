"""Axes of tuning: one a parameter, and the values that are tried on it. None of them is baked into an engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ...runtime.recipe.parameters import Parameters, RefinementParameters

DIGITS = 3
"""Values are rounded to so many significant digits: more would not be resolved by labels, and make poor reading."""


@dataclass(frozen=True)
class Axis:
    """One parameter and its values.

    Attributes:
        name: the parameter's.
        grid: the values tried first. On a ratio axis factors of the parameter's present value, else values.
        ratio: whether steps are ratios (scales, areas) and not differences (thresholds).
        whole: whether values are whole numbers.
        coarse: whether it can change the coarse mask, and so is fitted on that first, without the decoder.
        applies: whether it can change a mask at all, given the parameters and whether there is a background.
    """

    name: str
    grid: tuple[float, ...]
    applies: Callable[[RefinementParameters, bool], bool]
    ratio: bool = False
    whole: bool = False
    coarse: bool = False

    def first(self, present: float) -> list[float]:
        """The values to try first, ascending. Where a ratio axis stands at 0, factors of the usual default."""
        if not self.ratio:
            return list(self.grid)
        unit = present or getattr(Parameters(), self.name)
        return self._distinct(unit * factor for factor in self.grid)

    def near(self, best: float, tried: Iterable[float]) -> list[float]:
        """Values to try next: the tried ones on both sides of the best, and those half way to them.

        At the end of a ratio axis one more step is taken, by a factor of 2.
        """
        below = max((value for value in tried if value < best), default=None)
        above = min((value for value in tried if value > best), default=None)
        if self.ratio and best > 0:
            below, above = below if below is not None else best / 2, above if above is not None else best * 2
        sides = [side for side in (below, above) if side is not None]
        values = self._distinct(value for side in sides for value in (side, self._between(side, best)))
        return [value for value in values if value != best]

    def _between(self, one: float, other: float) -> float:
        return math.sqrt(one * other) if self.ratio and one > 0 and other > 0 else (one + other) / 2

    def _distinct(self, values: Iterable[float]) -> list[float]:
        return sorted({self._rounded(value) for value in values})

    def _rounded(self, value: float) -> float:
        return round(value) if self.whole else float(f"{value:.{DIGITS}g}")


def _background(parameters: RefinementParameters, background: bool) -> bool:
    return background


def _refined(parameters: RefinementParameters, background: bool) -> bool:
    return parameters.refine


def _always(parameters: Any, background: bool) -> bool:
    return True


def _either(parameters: RefinementParameters, background: bool) -> bool:
    """The scale alone orders no classes differently: it takes a threshold or refinement to make it count."""
    return parameters.refine or background


AXES = (
    Axis("probability_threshold", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8), _background, coarse=True),
    Axis("logit_scale", (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8), _either, ratio=True, coarse=True),
    Axis("region_threshold", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8), _refined),
    Axis("iou_threshold", (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95), _refined),
    Axis("min_area", (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), _refined, ratio=True, whole=True),
    Axis("box_threshold", (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5), _always),
    Axis("text_threshold", (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5), _always),
    Axis("nms_threshold", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8), _always),
    Axis("mask_nms_threshold", (0.3, 0.5, 0.7, 0.8, 0.9, 1.0), _always),
)
"""Those that matter to the coarse mask, or to how many things there are, first."""


def axes_for(parameters: Any, background: bool, unused: Collection[str] = ()) -> tuple[Axis, ...]:
    """The axes that can change a mask, or things.

    Args:
        parameters: those in force.
        unused: parameters that the models do not use.
        background: whether class 0 stands for everything that has no name; without it there is no
            `probability_threshold`.
    """
    there = [axis for axis in AXES if hasattr(parameters, axis.name) and axis.name not in unused]
    return tuple(axis for axis in there if axis.applies(parameters, background))
