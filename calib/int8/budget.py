"""Which products go back to float until the masks are right enough: the automatic mixed precision of `--budget`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from .gate import judge_labels
from .stage import Choice
from .steps import Steps
from .trial import Trial

PHOTOS = 4
"""Most calibration photos whose masks are compared at every turn."""

PART = 4
"""One in so many of a stage's products goes back at a turn, at least one."""


def within_budget(trial: Trial, choices: Mapping[str, Choice], steps: Steps) -> dict[str, Choice]:
    """Put the most sensitive products back until masks agree on enough pixels of calibration photos (`labels`).

    At every turn the stage that by itself harms the masks most gives back a quarter of its products.

    Args:
        trial: the draft, photos and settings of this calibration.
        choices: by stage; every product that they name is quantised at first.
        steps: keeps the measurements.

    Returns:
        The choices that hold the budget; with nothing left to quantise they are empty.
    """
    left, labels = dict(choices), trial.settings.labels
    photos = trial.photos.calibration
    some = photos[:: math.ceil(len(photos) / PHOTOS)]

    def share(name: str, part: Mapping[str, Choice]) -> float:
        def measure() -> float:
            return float(np.mean(judge_labels(trial, trial.draft.write(trial.draft.engines(part)), some)))

        return steps.once(f"budget-{labels:g}-{name}", float, measure)

    turn = 0
    while left:
        now = share(f"{turn}", left)
        trial.tell(f"masks agree on {now:.2%} of pixels, the budget is {labels:.2%}")
        if now >= labels:
            break
        alone = {stage: share(f"{turn}-{stage}", {stage: choice}) for stage, choice in left.items()}
        worst = min(alone, key=lambda stage: alone[stage])
        left[worst] = fewer(left[worst])
        trial.tell(f"{worst} harms most ({alone[worst]:.2%}): {len(left[worst].on)} of its products are left")
        left = {stage: choice for stage, choice in left.items() if stage in trial.draft.engines({stage: choice})}
        turn += 1
    return left


def fewer(choice: Choice) -> Choice:
    """A choice without a quarter of its products, the most sensitive ones."""
    order = sorted(choice.on, key=lambda node: -choice.errors[node])
    back = set(order[: math.ceil(len(order) / PART)])
    return msgspec.structs.replace(choice, on=tuple(node for node in choice.on if node not in back))
