"""Parity: a bundle's engines, and the pipeline they make, against the PyTorch reference.

Every stage is fed the reference's own inputs, so that an error is told where it arises; the pipeline is chained, so
that errors may add up. The pipeline needs classes that the weights tell apart, whatever the weights are: the embeddings
are taken from the photo's own features, and the IoU threshold is put amid SAM's estimates, so that some regions are
refined and some fail.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from ..runtime.bundle import Bundle
from ..runtime.errors import WeightsError
from ..runtime.parameters import with_overrides
from ..runtime.pipeline import Segmenter
from ..runtime.plan import Plan, plan_photo
from ..runtime.recipe import Tolerances
from ..runtime.result import Result
from ..runtime.sessions import open_session
from ..runtime.tokenizer import ClipTokenizer
from ..runtime.vocabulary import Vocabulary
from .compare import compare
from .reference.networks import Networks
from .reference.pipeline import Reference, Trace
from .text_assets import clip_tokenizer

CLASSES, ROUNDS = 6, 10
TEXTS = ("a photo of a cup.", "a bad photo of the “naïve” façade &amp; sky!", "")
"""Texts of the text engine's check; the second is hard on tokenizers."""

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
        backend: what runs the engines.
        precision: of the engines.

    Yields:
        One check after another, as they are done.
    """
    reference = Reference(networks)
    trace = reference.encode(photo)
    encoded_ms = dict(trace.timings)
    vocabulary = separating_vocabulary(trace)
    reference.decide(trace, vocabulary)
    overrides = _threshold_amid(trace)
    if overrides:
        trace.settings = with_overrides(trace.settings, overrides)
        trace.timings = encoded_ms  # times add up, and this decides a second time
        reference.decide(trace, vocabulary)
    plan = plan_photo(trace.photo.shape[:2], trace.settings, reference.method, reference.dimensions)
    yield from _check_stages(bundle, networks, trace, plan, backend, precision)
    if missing_stages(bundle):
        return
    with Segmenter.load(bundle.path, backend=backend, precision=precision) as segmenter:
        result = segmenter.segment(trace.photo, vocabulary, parameters=overrides)
    yield from _check_pipeline(trace, result, bundle.recipe.tolerances)


def separating_vocabulary(trace: Trace) -> Vocabulary:
    """Classes that this photo's features fall into, whatever the weights mean; deterministic.

    k-means on the image features, begun at points far apart. An embedding is its cluster's centre less what all
    features share, so that no class wins everywhere.
    """
    assert trace.image_features is not None
    features = trace.image_features.flatten(0, -2).double().numpy()
    shared = features.mean(axis=0)
    shared /= np.linalg.norm(shared)
    own = features - (features @ shared)[:, None] * shared
    centres = own[_far_apart(own, CLASSES)]
    for _ in range(ROUNDS):
        nearest = _gaps(own, centres).argmin(axis=1)
        centres = np.stack(
            [own[nearest == k].mean(axis=0) if (nearest == k).any() else c for k, c in enumerate(centres)]
        )
    embeddings = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return Vocabulary([f"class {index}" for index in range(len(centres))], embeddings)


def _far_apart(points: np.ndarray, count: int) -> list[int]:
    """Indices of points, each the farthest from those before it."""
    chosen = [int(np.linalg.norm(points, axis=1).argmax())]
    while len(chosen) < min(count, len(points)):
        chosen.append(int(_gaps(points, points[chosen]).min(axis=1).argmax()))
    return chosen


def _gaps(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[N, K] distances."""
    return np.stack([np.linalg.norm(points - centre, axis=1) for centre in centres], axis=1)


def _threshold_amid(trace: Trace) -> dict[str, float]:
    """An IoU threshold in the widest gap between the middle estimates; none without two regions."""
    if trace.prompted is None or len(trace.prompted.iou) < 2:
        return {}
    estimates = np.sort(trace.prompted.iou.numpy())
    gaps = np.diff(estimates)
    low = len(gaps) // 4
    middle = low + int(gaps[low : len(gaps) - low].argmax())
    return {"iou_threshold": float(estimates[middle : middle + 2].mean())}


def _check_stages(
    bundle: Bundle, networks: Networks, trace: Trace, plan: Plan, backend: str, precision: str
) -> Iterator[Check]:
    tolerances = bundle.recipe.tolerances
    for stage in bundle.manifest.stages:
        case = _stage_case(stage, bundle, networks, trace, plan)
        if case is None:
            continue
        feeds, expected = case
        with open_session(bundle.engine_path(stage, precision), bundle.stage(stage).contract, backend) as session:
            start = time.perf_counter()
            outputs = session.run(feeds)
            engine_ms = (time.perf_counter() - start) * 1e3
        for name, array in outputs.items():
            torch_ms = trace.timings.get(stage) if name == next(iter(outputs)) else None
            check = _compare_output(stage, name, array, expected[name], tolerances)
            yield check._replace(torch_ms=torch_ms, engine_ms=engine_ms if torch_ms is not None else None)


def _compare_output(stage: str, name: str, came: np.ndarray, expected: np.ndarray, tolerances: Tolerances) -> Check:
    """Within the output's tolerance, and typically within the strict one even behind a threshold."""
    difference = compare(came, expected)
    key = THRESHOLDED.get((stage, name))
    limit = getattr(tolerances, key) if key else tolerances.relative
    passed = difference.relative <= limit and difference.typical <= tolerances.relative
    told = f"relative ≤ {limit:g}" + (f", typical ≤ {tolerances.relative:g}" if key else "")
    return Check(stage, name, difference._asdict(), told, passed)


def _stage_case(
    stage: str, bundle: Bundle, networks: Networks, trace: Trace, plan: Plan
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
    """The reference's inputs and outputs of a stage, as the engine takes and gives them; None if it did not run."""
    if stage == "text_encoder":
        return _text_case(bundle, networks)
    if stage == "head":
        return _head_case(networks, trace, plan)
    if stage not in trace.stages:
        return None
    inputs, outputs = trace.stages[stage]
    return _arrays(inputs), _arrays(outputs)


def _text_case(bundle: Bundle, networks: Networks) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The runtime's tokens for the engine, open_clip's for the reference: the tokenizer is checked with it."""
    size = bundle.manifest.dimensions
    tokens = ClipTokenizer(bundle.tokenizer_path(), size.context_length)(TEXTS)
    with torch.no_grad():
        reference = clip_tokenizer(networks.models["clip"].vocab_size)(list(TEXTS), size.context_length)
        features = networks.modules["text_encoder"](reference)
    return {"tokens": tokens}, {"features": features.numpy()}


def _head_case(networks: Networks, trace: Trace, plan: Plan) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Features as the runtime lays them out, with its splice tables; logits laid out as the engine gives them."""
    inputs, outputs = (_arrays(tensors) for tensors in trace.stages["head"])
    features = trace.stages["clip_image"][1]["features"].numpy()
    rows, columns = plan.windows_grid
    feeds = {"window_features": features.reshape(rows, columns, *features.shape[1:]), **inputs}
    if networks.recipe.row.across == "features":
        assert plan.splice_rows is not None and plan.splice_columns is not None
        affinity = trace.stages["sam_encoder"][1]["affinity"].numpy()
        return {
            **feeds, "row_weights": plan.splice_rows, "column_weights": plan.splice_columns, "affinity": affinity
        }, outputs  # fmt: skip
    logits = outputs["logits"]  # [B, Q, h, w] → [Q, Wy·h, Wx·w]
    _, queries, h, w = logits.shape
    grid = logits.reshape(rows, columns, queries, h, w).transpose(2, 0, 3, 1, 4)
    return feeds, {"logits": grid.reshape(queries, rows * h, columns * w)}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {
        name: np.ascontiguousarray(tensor.numpy()) if tensor.ndim else tensor.numpy()
        for name, tensor in tensors.items()
    }


def _check_pipeline(trace: Trace, result: Result, tolerances: Tolerances) -> Iterator[Check]:
    assert trace.coarse is not None and trace.mask is not None and trace.scores is not None
    yield _agreement("coarse mask", result.coarse_mask, trace.coarse, tolerances)
    if trace.prompted is None:
        return
    came, expected = len(result.regions), len(trace.prompted.regions)
    yield Check("pipeline", "regions", {"came": came, "expected": expected}, "as many", came == expected)
    refined = sum(region.refined for region in result.regions)
    check = _agreement(f"refined mask ({refined} of {came} regions refined)", result.mask, trace.mask, tolerances)
    yield check._replace(torch_ms=sum(trace.timings.values()), engine_ms=result.timings["total"])


def _agreement(what: str, came: np.ndarray, expected: np.ndarray, tolerances: Tolerances) -> Check:
    share = float((came == expected).mean())
    return Check(
        "pipeline", what, {"agreement": share}, f"agreement ≥ {tolerances.labels:g}", share >= tolerances.labels
    )
