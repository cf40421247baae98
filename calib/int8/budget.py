"""Which products go back to float until the masks are right enough: the automatic mixed precision of `--budget`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from ...runtime.bundle.bundle import Bundle, EngineEntry
from ...runtime.reporting import Reporter
from .gate import Opening, judge_labels
from .photos import Photo
from .stage import Choice
from .steps import Steps

PHOTOS = 4
"""Most calibration photos whose masks are compared at every turn."""

PART = 4
"""One in so many of a stage's products goes back at a turn, at least one."""

Engines = Callable[[Mapping[str, Choice]], dict[str, EngineEntry]]


def within_budget(
    floats: Bundle,
    choices: Mapping[str, Choice],
    engines: Engines,
    write: Callable[[Mapping[str, EngineEntry]], Bundle],
    photos: Sequence[Photo],
    labels: float,
    opening: Opening,
    masks: Steps,
    steps: Steps,
    tell: Reporter,
) -> dict[str, Choice]:
    """Put the most sensitive products back until masks agree on `labels` of the pixels of calibration photos.

    At every turn the stage that by itself harms the masks most gives back a quarter of its products.

    Args:
        floats: the float bundle.
        choices: by stage; every product that they name is INT8 at first.
        engines: makes engines; a stage that is hardly INT8 any more has none.
        write: makes a bundle of them.
        photos: the calibration set.
        labels: the budget.
        opening: how pipelines are opened.
        masks: keeps FP32's masks.
        steps: keeps the measurements.
        tell: is told of every turn.

    Returns:
        The choices that hold the budget; with nothing left in INT8 they are empty.
    """
    left = dict(choices)
    some = photos[:: math.ceil(len(photos) / PHOTOS)]

    def share(name: str, part: Mapping[str, Choice]) -> float:
        def measure() -> float:
            return float(np.mean(judge_labels(floats, write(engines(part)), some, opening, masks, tell)))

        return steps.once(f"budget-{labels:g}-{name}", float, measure)

    turn = 0
    while left:
        now = share(f"{turn}", left)
        tell(f"masks agree on {now:.2%} of pixels, the budget is {labels:.2%}")
        if now >= labels:
            break
        alone = {stage: share(f"{turn}-{stage}", {stage: choice}) for stage, choice in left.items()}
        worst = min(alone, key=lambda stage: alone[stage])
        left[worst] = fewer(left[worst])
        tell(f"{worst} harms most ({alone[worst]:.2%}): {len(left[worst].on)} of its products stay INT8")
        left = {stage: choice for stage, choice in left.items() if stage in engines({stage: choice})}
        turn += 1
    return left


def fewer(choice: Choice) -> Choice:
    """A choice without a quarter of its INT8 products, the most sensitive ones."""
    order = sorted(choice.on, key=lambda node: -choice.errors[node])
    back = set(order[: math.ceil(len(order) / PART)])
    return msgspec.structs.replace(choice, on=tuple(node for node in choice.on if node not in back))
