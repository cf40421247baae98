"""`ovdeploy tune --budget-ms` and `--max-loss`: settings for a goal, chosen on one part of the photos and judged on
the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress
from rich.table import Table

from ...runtime.datasets import Dataset
from ...runtime.errors import DatasetError, ParameterError
from ...runtime.evaluation.predictors import Words
from ...runtime.pipelines.base import Segmenter
from ...runtime.pipelines.worded.replaying import Paced
from .fit import split
from .goal import Goal, in_words
from .noise import LEVEL
from .pace import Candidate, Judged, candidates, judge, readable, run, warm_up

FEW = 3
"""Photos below which a median says little."""


@dataclass(frozen=True)
class Pace:
    """The outcome.

    Attributes:
        goal: what was looked for.
        tried: all candidates on the photos fitted on; the first has the settings that held.
        found: the one that serves the goal best.
        checked: what the photos held out say; None if there are none.
        failed: errors by photo.
    """

    goal: Goal
    tried: list[Candidate]
    found: Candidate
    checked: Judged | None
    failed: dict[str, str]

    @property
    def before(self) -> Candidate:
        """The settings that held."""
        return self.tried[0]

    @property
    def accepted(self) -> bool:
        """Whether the settings found should be used."""
        return self.found is not self.before and (self.checked is None or self.goal.stands(self.checked))

    @property
    def chosen(self) -> Candidate:
        """The settings to use."""
        return self.found if self.accepted else self.before


def paced(segmenter: Segmenter) -> Paced:
    """A segmenter whose pace can be fitted.

    Raises:
        ParameterError: no setting of its pipeline decides how long a photo takes.
    """
    if not isinstance(segmenter, Paced):
        raise ParameterError(
            f"the pipeline {segmenter.manifest.recipe.pipeline!r} has no setting that decides how long a photo takes; "
            f"take a smaller recipe, or another precision"
        )
    return segmenter


def find_pace(
    segmenter: Segmenter,
    dataset: Dataset,
    words: Words,
    goal: Goal,
    progress: Progress,
    *,
    share: float,
    trials: int,
) -> Pace:
    """Choose settings on a part of the photos, and hold them against those in force on the rest.

    Args:
        segmenter: the engines, and the parameters in force.
        dataset: labelled photos.
        words: its vocabulary.
        goal: what is looked for.
        progress: where it is shown.
        share: of the photos that is held out.
        trials: how many settings may be tried.

    Raises:
        DatasetError: no photo can be used.
        ParameterError: nothing serves the goal.
    """
    points, failed = candidates(segmenter.parameters, trials, paced(segmenter).SIZE), dict[str, str]()
    names, held_out = split(list(dataset.names), share)
    warm_up(segmenter, dataset, words, points[:1])

    def over(part: list[str], settings: list[dict[str, Any]], budget: float, what: str) -> list[Candidate]:
        task = progress.add_task(what, total=len(part))
        return run(
            segmenter,
            readable(dataset, part, failed),
            words,
            settings,
            len(dataset.classes),
            budget=budget,
            advance=lambda photos: progress.update(task, advance=photos),
        )

    tried = over(names, points, goal.budget, f"{len(points)} settings")
    if math.isnan(tried[0].miou):
        raise DatasetError("no pixel of the photos to choose on has a label that counts; mIoU is not defined")
    found = goal.choose(tried)
    checked = None
    if held_out and found is not tried[0]:
        values = [tried[0].values, found.values]
        both = over(held_out, values, math.inf, "held out")  # none is given up: they are compared photo by photo
        checked = judge(*both) if both[0].times else None
    return Pace(goal, tried, found, checked, failed)


def verdict(pace: Pace) -> str:
    """One sentence."""
    if pace.found is pace.before:
        return f"the settings that held are already {pace.goal}; they stay"
    if pace.checked is None:
        return f"{in_words(pace.found)} is {pace.goal}; no photo was held out to check it"
    told = (
        f"{pace.checked.gain.gain * 100:+.2f} points of mIoU and {_faster(pace.checked)} on the "
        f"{pace.checked.photos} photos held out"
    )
    if not pace.accepted:
        return f"{in_words(pace.found)} did not stand: {told}; the settings that held stay"
    return f"{in_words(pace.found)} is {pace.goal}: {told}"


def warnings(pace: Pace) -> Iterator[str]:
    """Warnings to heed before using the settings."""
    if pace.checked is None and pace.found is not pace.before:
        yield "no photo was held out, so mIoU flatters the settings; give more photos, or --check-share"
    if pace.chosen.ms > pace.goal.budget:
        yield f"the settings that stay take {pace.chosen.ms:.0f} ms a photo, more than {pace.goal.budget:g}"
    if len(pace.before.times) < FEW:
        yield f"times are those of {len(pace.before.times)} photos; more would tell more"
    if pace.failed:
        yield f"{len(pace.failed)} photos could not be read and were left out"


def table(pace: Pace) -> Table:
    """All that was tried, the fastest first."""
    shown = Table("", *pace.before.values, "ms a photo", "mIoU", box=None)
    for candidate in sorted(pace.tried, key=lambda each: each.ms):
        mark = "chosen" if candidate is pace.chosen else "before" if candidate is pace.before else ""
        cells = (str(value).lower() for value in candidate.values.values())
        shown.add_row(mark, *cells, f"{candidate.ms:.0f}", _points(candidate))
    return shown


def comments(pace: Pace, bundle: str, dataset: str, threads: str) -> list[str]:
    """Comments for the top of the overlay."""
    lines = [
        f"Chosen by `ovdeploy tune` for {pace.goal}, on {len(pace.before.times)} photos of {dataset}, "
        f"with the bundle {bundle} and {threads}.",
        f"Verdict: {verdict(pace)}.",
    ]
    return [*lines, *(f"Note: {warning}." for warning in warnings(pace))]


def describe(pace: Pace) -> dict[str, Any]:
    """Everything as plain values; what is not known is null."""
    checked = pace.checked
    return {
        "goal": str(pace.goal),
        "before": _plain(pace.before),
        "found": _plain(pace.found),
        "accepted": pace.accepted,
        "chosen": pace.chosen.values,
        "verdict": verdict(pace),
        "warnings": list(warnings(pace)),
        "tried": [_plain(candidate) for candidate in pace.tried],
        "checked": checked
        and {
            "photos": checked.photos,
            "before": _plain(checked.before),
            "after": _plain(checked.after),
            "gain": _known(checked.gain.gain),
            "interval": [_known(checked.gain.low), _known(checked.gain.high)],
            "level": LEVEL,
        },
        "failed": pace.failed,
    }


def _plain(candidate: Candidate) -> dict[str, Any]:
    known = {"ms": _known(candidate.ms), "miou": _known(candidate.miou)}
    return {"values": candidate.values, **known, "photos": len(candidate.times), "given_up": candidate.dropped}


def _faster(judged: Judged) -> str:
    return f"{judged.after.ms:.0f} ms a photo in place of {judged.before.ms:.0f}"


def _points(candidate: Candidate) -> str:
    return "too slow" if candidate.dropped else f"{candidate.miou * 100:.2f}"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
