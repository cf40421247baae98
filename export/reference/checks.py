"""Comparisons with the reference, and what passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ...runtime.answers.result import Result
from ...runtime.recipe.recipe import Tolerances
from ...runtime.stage.compare import compare
from ...runtime.stage.precision import FP8, HALF, INT8, INT8W

LOOSE = dict.fromkeys(HALF, "half") | dict.fromkeys((INT8, INT8W, FP8), INT8)
"""Precisions that have tolerances of their own, and what their names begin with."""


class Check(NamedTuple):
    """One comparison."""

    stage: str
    what: str
    measures: dict[str, float]
    """By name: max_abs, relative, typical, cosine; or agreement."""
    limit: str
    """The tolerance, as it is told."""
    passed: bool
    torch_ms: float | None = None
    engine_ms: float | None = None
    """Of one run each; not a benchmark."""
    thresholded: bool = False
    """Whether the output lies behind a threshold, so that single entries may flip."""


class Limits(NamedTuple):
    """Limits of what passes in a precision."""

    check: Callable[[str, str, np.ndarray, np.ndarray], Check]
    """Takes stage, output, what came and what was expected."""
    labels: float
    """Share of pixels on which two masks must agree."""
    prompted: tuple[float, float]
    """Least share of equal pixels of interactive masks, and how far their IoU estimates may be from SamPredictor's."""
    exact: bool
    """Whether the regions must be as many; where pixels may differ, a region of the least area may come or go."""


Loose = Mapping[tuple[str, str], str]
"""Outputs behind a threshold, by stage and name, and the tolerance that holds for them; all others have `relative`."""


def limits_for(tolerances: Tolerances, precision: str, loose: Loose = MappingProxyType({})) -> Limits:
    """The recipe's tolerances as they hold for a precision."""
    if precision in LOOSE:
        cosine, relative, labels = (
            getattr(tolerances, f"{LOOSE[precision]}_{of}") for of in ("cosine", "relative", "labels")
        )
        return Limits(partial(_compare_loosely, cosine, relative), labels, (labels, relative), exact=False)
    prompted = (tolerances.prompted_masks, tolerances.prompted_iou)
    return Limits(partial(_compare_output, tolerances, loose), tolerances.labels, prompted, exact=True)


def _compare_output(
    tolerances: Tolerances, loose: Loose, stage: str, name: str, came: np.ndarray, expected: np.ndarray
) -> Check:
    """Within the output's tolerance, and typically within the strict one even behind a threshold."""
    difference = compare(came, expected)
    key = loose.get((stage, name))
    limit = getattr(tolerances, key) if key else tolerances.relative
    passed = difference.relative <= limit and difference.typical <= tolerances.relative
    told = f"relative ≤ {limit:g}" + (f", typical ≤ {tolerances.relative:g}" if key else "")
    return Check(stage, name, difference._asdict(), told, passed, thresholded=key is not None)


def _compare_loosely(
    cosine: float, relative: float, stage: str, name: str, came: np.ndarray, expected: np.ndarray
) -> Check:
    """The direction, and the length too."""
    difference = compare(came, expected)
    passed = difference.cosine >= cosine and difference.relative <= relative
    return Check(stage, name, difference._asdict(), f"cosine ≥ {cosine:g}, relative ≤ {relative:g}", passed)


def labels_check(result: Result, trace: Any, limits: Limits, what: str = "labels") -> Check:
    """How many pixels the engines' mask of a photo shares with its trace's, and the times of both."""
    check = agreement(what, result.mask, trace.mask, limits)
    return check._replace(torch_ms=sum(trace.timings.values()), engine_ms=result.timings["total"])


def agreement(what: str, came: np.ndarray, expected: np.ndarray, limits: Limits) -> Check:
    """How many pixels of two label maps of the whole pipeline are equal."""
    share = float((came == expected).mean())
    return Check("pipeline", what, {"agreement": share}, f"agreement ≥ {limits.labels:g}", share >= limits.labels)
