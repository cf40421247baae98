"""A search's findings, as plain values, as words, and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from .fit import Fit, Part
from .noise import LEVEL
from .search import MIN_GAIN, Trial
from .yardsticks import COARSE


def describe(fit: Fit) -> dict[str, Any]:
    """Everything as plain values; what is not known is null."""
    return {
        "counts": fit.kind,
        "before": fit.before,
        "found": fit.found,
        "accepted": fit.accepted,
        "chosen": fit.chosen,
        "verdict": verdict(fit),
        "warnings": list(warnings(fit)),
        "fitted": _part(fit.fitted),
        "checked": _part(fit.checked) if fit.checked else None,
        "exhausted": fit.exhausted,
        "trials": [
            {"values": t.values, fit.column: t.stage, fit.word.lower(): _known(t.score), "changed": t.changed}
            for t in fit.trials
        ],
    }


def verdict(fit: Fit) -> str:
    """One sentence."""
    if fit.found == fit.before:
        return "the values that held are already the best of those tried; they stay"
    if fit.checked is None:
        return "better on the photos fitted on; nothing was held out to check it"
    gain = fit.checked.gain
    told = f"{_points(gain.gain, '+')} points of {fit.word} on the {fit.checked.photos} photos held out"
    if not fit.accepted:
        return f"not better: {told}; the values that held stay"
    return f"better, but within noise: {told}" if gain.is_noise else f"better: {told}"


def warnings(fit: Fit) -> Iterator[str]:
    """Warnings to heed before using the values."""
    checked = fit.checked
    if checked is None:
        yield "no photo was held out, so the figures flatter the values; give more photos, or --check-share"
    elif fit.accepted and checked.gain.is_noise:
        yield (
            f"the gain on the photos held out is within noise ({LEVEL:.0%} of resamplings: {_interval(checked)}); "
            f"more photos would tell more"
        )
    if fit.exhausted:
        yield "the search ended because --trials were used up; more may find better values"
    judge = checked or fit.fitted
    if judge.after.get(COARSE, -math.inf) > judge.after[fit.kind] + MIN_GAIN:
        yield (
            f"refinement lowers mIoU here: the coarse mask has {_points(judge.after[COARSE])}; consider refine = false"
        )


def part_table(fit: Fit) -> Table:
    """Figures before and with the values found, on both parts; the gain of what counts."""
    table = Table(fit.word, "photos", fit.column, "before", "found", "gain", f"{LEVEL:.0%} of resamplings", box=None)
    for name, part in (("fitted on", fit.fitted), ("held out", fit.checked)):
        if part is None:
            continue
        gain = (_points(part.gain.gain, "+"), _interval(part))
        for row, kind in enumerate(part.before):
            head = ("", "") if row else (name, str(part.photos))
            table.add_row(
                *head, kind, _points(part.before[kind]), _points(part.after[kind]), *(("", "") if row else gain)
            )
    return table


def value_table(fit: Fit) -> Table:
    """Every parameter before and after, and the best score with each of its values, whatever the others were."""
    table = Table("parameter", "before", "chosen", f"tried: best {fit.word} on the photos fitted on", box=None)
    for name, before in fit.before.items():
        best: dict[float, Trial] = {}
        for trial in fit.trials:
            if trial.stage == fit.kind:
                best[trial.values[name]] = max(trial, best.get(trial.values[name], trial), key=lambda each: each.score)
        tried = ", ".join(f"{value:g}: {_points(best[value].score)}" for value in sorted(best))
        table.add_row(name, f"{before:g}", f"{fit.chosen[name]:g}", tried)
    return table


def comments(fit: Fit, bundle: str, dataset: str) -> list[str]:
    """Comments for the top of the overlay."""
    part = fit.checked or fit.fitted
    where = "photos held out" if fit.checked else "the photos fitted on"
    figures = (
        f"{fit.word} {_points(part.before[fit.kind])} before, {_points(part.after[fit.kind])} with the values found"
    )
    lines = [
        f"Fitted by `ovdeploy tune` to {fit.fitted.photos} photos of {dataset}, on the bundle {bundle}.",
        f"On {part.photos} {where}: {figures}.",
        f"Verdict: {verdict(fit)}.",
    ]
    return [*lines, *(f"Note: {warning}." for warning in warnings(fit))]


def _part(part: Part) -> dict[str, Any]:
    gain = part.gain
    return {
        "photos": part.photos,
        "before": {kind: _known(value) for kind, value in part.before.items()},
        "after": {kind: _known(value) for kind, value in part.after.items()},
        "gain": _known(gain.gain),
        "interval": [_known(gain.low), _known(gain.high)],
        "level": LEVEL,
        "within_noise": gain.is_noise,
    }


def _interval(part: Part) -> str:
    gain = part.gain
    if not (math.isfinite(gain.low) and math.isfinite(gain.high)):
        return "unknown"
    return f"{_points(gain.low, '+')} to {_points(gain.high, '+')}"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _points(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.2f}" if math.isfinite(share) else "–"
