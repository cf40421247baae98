"""Parity: a bundle's engines, and the pipeline they make, against the PyTorch reference.

Every stage is fed the reference's own inputs, so that an error is told where it arises; the pipeline is chained, so
that errors may add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...runtime.backends.base import Session
from ...runtime.backends.registry import BACKENDS, choose_backend
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.opening import open_stage
from ...runtime.errors import WeightsError
from ...runtime.labelling.result import Result
from ...runtime.pipelines.promptable.interactive import DECODER, ENCODER
from ...runtime.pipelines.training_free.segmenter import Segmenter
from ...runtime.recipe.recipe import Tolerances
from ...runtime.stage.compare import compare
from ...runtime.stage.precision import HALF, INT8
from ..reference.networks import Networks
from ..reference.trace import Trace
from .cases import Case, stage_case, trace_photo
from .layers import STAGE as LAYERS
from .layers import trace_layers
from .prompts import PromptTrace, prompt_gaps, trace_prompts

LOOSE = dict.fromkeys(HALF, "half") | {INT8: INT8}
"""Precisions that have tolerances of their own, and what their names begin with."""

THRESHOLDED = {("clip_image", "features"): "thresholded_features", ("sam_encoder", "affinity"): "thresholded_affinity"}
"""Outputs behind a threshold, and the tolerance that holds for them; all others have `relative`."""


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


def check_weights(bundle: Bundle, networks: Networks) -> None:
    """Refuse weights that are not those of the export.

    Raises:
        WeightsError: names the model.
    """
    for role, exported in bundle.manifest.provenance.items():
        given = networks.provenance[role]
        if given.sha256 != exported.sha256:
            raise WeightsError(
                f"the {role} weights given ({given.source}) are not those that {bundle.path} was exported with "
                f"({exported.source}): their SHA-256 differs. Give the same --{role}-weights as at export."
            )


def weight_sources(bundle: Bundle, given: Mapping[str, str | None]) -> dict[str, str]:
    """Where to take each model's weights from: as given, else as at export.

    Raises:
        WeightsError: they came from a file, whose path the bundle does not hold.
    """
    sources = {}
    for role, provenance in bundle.manifest.provenance.items():
        kind, _, name = provenance.source.partition(":")
        if given.get(role):
            sources[role] = str(given[role])
        elif kind == "file":
            raise WeightsError(f"the {role} weights came from a file named {name!r}: give --{role}-weights its path")
        else:
            sources[role] = "pretrained" if kind == "pretrained" else provenance.source
    return sources


def missing_stages(bundle: Bundle) -> list[str]:
    """Stages that the pipeline needs and the bundle was exported without."""
    return [s for s in bundle.recipe.stages if s != "text_encoder" and s not in bundle.manifest.stages]


def check_parity(
    bundle: Bundle, networks: Networks, photo: Any, *, backend: str = "auto", precision: str = "fp32"
) -> Iterator[Check]:
    """Compare every stage, then (if the bundle has them all) the whole pipeline, on one photo.

    Args:
        bundle: the engines.
        networks: the reference, with the weights of the export (`check_weights`).
        photo: a path, or [H, W, 3] uint8 RGB.
        backend: what runs the engines; half ones are emulated where it would compute them in FP32 (`must_emulate`).
        precision: of the engines.

    Yields:
        One check after another, as they are done.
    """
    traced = trace_photo(networks, photo)
    limits = limits_for(bundle.recipe.tolerances, precision)
    open_engine = engine_opener(bundle, backend, precision)
    prompted = trace_prompts(networks, traced.trace.photo) if DECODER in bundle.manifest.stages else None
    if prompted is not None:
        traced.trace.stages[DECODER] = prompted.inputs, prompted.outputs
        traced.trace.timings[DECODER] = prompted.milliseconds
    if LAYERS in bundle.manifest.stages:
        trace_layers(networks, traced.trace)
    for stage in bundle.manifest.stages:
        if case := stage_case(stage, bundle.tokenizer_path(), networks, traced):
            yield from _check_stage(stage, open_engine, case, traced.trace, limits)
    if prompted is not None and ENCODER in bundle.manifest.stages:
        yield from _check_prompts(bundle, open_engine, traced.trace, prompted, limits)
    if missing_stages(bundle):
        return
    sessions = {stage: open_engine(stage) for stage in bundle.recipe.stages if stage != "text_encoder"}
    with Segmenter(bundle.manifest, sessions) as segmenter:
        result = segmenter.segment(traced.trace.photo, traced.vocabulary, parameters=traced.overrides)
    yield from _check_pipeline(traced.trace, result, limits)


def must_emulate(backend: str, precision: str) -> bool:
    """Whether half engines say nothing when this backend runs them, since it would compute them in FP32."""
    return precision in BACKENDS[choose_backend(backend, precision)].widens


def engine_opener(bundle: Bundle, backend: str, precision: str) -> Callable[[str], Session]:
    """A function that opens a stage's engine, or emulates it."""

    def open_engine(stage: str) -> Session:
        if not must_emulate(backend, precision):
            return open_stage(bundle, stage, precision, backend)
        from ...runtime.graph.emulate import emulated_session

        return emulated_session(bundle.engine_path(stage, precision), bundle.stage(stage).contract)

    return open_engine


def _check_stage(
    stage: str, open_engine: Callable[[str], Session], case: Case, trace: Trace, limits: Limits
) -> Iterator[Check]:
    feeds, expected = case
    with open_engine(stage) as session:
        start = time.perf_counter()
        outputs = session.run(feeds)
        engine_ms = (time.perf_counter() - start) * 1e3
    for name, array in outputs.items():
        torch_ms = trace.timings.get(stage) if name == next(iter(outputs)) else None
        check = limits.check(stage, name, array, expected[name])
        yield check._replace(torch_ms=torch_ms, engine_ms=engine_ms if torch_ms is not None else None)


class Limits(NamedTuple):
    """What passes in a precision."""

    check: Callable[[str, str, np.ndarray, np.ndarray], Check]
    """Takes stage, output, what came and what was expected."""
    labels: float
    """Share of pixels on which two masks must agree."""
    prompted: tuple[float, float]
    """Least share of equal pixels of interactive masks, and how far their IoU estimates may be from SamPredictor's."""
    exact: bool
    """Whether the regions must be as many; where pixels may differ, a region of the least area may come or go."""


def limits_for(tolerances: Tolerances, precision: str) -> Limits:
    """The recipe's tolerances as they hold for a precision."""
    if precision in LOOSE:
        cosine, relative, labels = (
            getattr(tolerances, f"{LOOSE[precision]}_{of}") for of in ("cosine", "relative", "labels")
        )
        return Limits(partial(_compare_loosely, cosine, relative), labels, (labels, relative), exact=False)
    prompted = (tolerances.prompted_masks, tolerances.prompted_iou)
    return Limits(partial(_compare_output, tolerances), tolerances.labels, prompted, exact=True)


def _compare_output(tolerances: Tolerances, stage: str, name: str, came: np.ndarray, expected: np.ndarray) -> Check:
    """Within the output's tolerance, and typically within the strict one even behind a threshold."""
    difference = compare(came, expected)
    key = THRESHOLDED.get((stage, name))
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


def _check_pipeline(trace: Trace, result: Result, limits: Limits) -> Iterator[Check]:
    assert trace.coarse is not None and trace.mask is not None and trace.scores is not None
    yield _agreement("coarse mask", result.coarse_mask, trace.coarse, limits)
    if trace.prompted is None:
        return
    came, expected = len(result.regions), len(trace.prompted.regions)
    if limits.exact:
        yield Check("pipeline", "regions", {"came": came, "expected": expected}, "as many", came == expected)
    refined = sum(region.refined for region in result.regions)
    check = _agreement(f"refined mask ({refined} of {came} regions refined)", result.mask, trace.mask, limits)
    yield check._replace(torch_ms=sum(trace.timings.values()), engine_ms=result.timings["total"])


def _check_prompts(
    bundle: Bundle, open_engine: Callable[[str], Session], trace: Trace, prompted: PromptTrace, limits: Limits
) -> Iterator[Check]:
    least, most = limits.prompted
    for gap in prompt_gaps(bundle, open_engine, trace.photo, prompted):
        passed = gap.agreement >= least and gap.iou <= most
        told = f"SamPredictor's: agreement ≥ {least:g}, IoU within {most:g}"
        yield Check("prompt", gap.name, {"agreement": gap.agreement, "iou_gap": gap.iou}, told, passed)


def _agreement(what: str, came: np.ndarray, expected: np.ndarray, limits: Limits) -> Check:
    share = float((came == expected).mean())
    return Check("pipeline", what, {"agreement": share}, f"agreement ≥ {limits.labels:g}", share >= limits.labels)
