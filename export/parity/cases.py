"""What the stages are fed on a photo and what they should give, from the PyTorch reference.

The pipeline needs classes that the weights tell apart, whatever the weights are: the embeddings are taken from the
photo's own features, and the IoU threshold is put amid SAM's estimates, so that some regions are refined and some fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ...runtime.pipelines.training_free.encoding import head_part
from ...runtime.pipelines.training_free.plan import Plan, plan_photo
from ...runtime.recipe.parameters import with_overrides
from ...runtime.words.tokenizer import ClipTokenizer
from ...runtime.words.vocabulary import Vocabulary
from ..models.text_assets import clip_tokenizer
from ..reference.networks import Networks
from ..reference.trace import Trace
from ..reference.training_free.pipeline import Reference

Case = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
"""Inputs and outputs of a stage."""

CLASSES, ROUNDS = 6, 10
TEXTS = ("a photo of a cup.", "a bad photo of the “naïve” façade &amp; sky!", "")
"""Texts of the text engine's check; the second is hard on tokenizers."""


class Traced(NamedTuple):
    """The reference on one photo, with all that feeding the engines takes."""

    trace: Trace
    vocabulary: Vocabulary
    overrides: dict[str, float]
    """Parameters that differ from the recipe's, so that some regions are refined and some fail."""
    plan: Plan


def trace_photo(networks: Networks, photo: Any) -> Traced:
    """Run the PyTorch reference on a photo (a path, or [H, W, 3] uint8 RGB)."""
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
    return Traced(trace, vocabulary, overrides, plan)


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


def stage_case(stage: str, tokenizer: Path, networks: Networks, traced: Traced) -> Case | None:
    """The reference's inputs and outputs of a stage, as the engine takes and gives them; None if it did not run.

    Args:
        stage: its name.
        tokenizer: the bundle's `tokenizer.json`.
        networks: the reference.
        traced: the reference's run.
    """
    trace = traced.trace
    if stage == "text_encoder":
        return _text_case(tokenizer, networks)
    if stage == "head":
        return _head_case(networks, trace, traced.plan)
    if stage not in trace.stages:
        return None
    inputs, outputs = trace.stages[stage]
    return _arrays(inputs), _arrays(outputs)


def _text_case(tokenizer: Path, networks: Networks) -> Case:
    """The runtime's tokens for the engine, open_clip's for the reference: the tokenizer is checked with it."""
    size = networks.dimensions
    tokens = ClipTokenizer(tokenizer, size.context_length)(TEXTS)
    with torch.no_grad():
        reference = clip_tokenizer(networks.models["clip"].vocab_size)(list(TEXTS), size.context_length)
        features = networks.modules["text_encoder"](reference)
    return {"tokens": tokens}, {"features": features.numpy()}


def _head_case(networks: Networks, trace: Trace, plan: Plan) -> Case:
    """Features as the runtime lays them out, with its splice tables; logits laid out as the engine gives them."""
    inputs, outputs = (_arrays(tensors) for tensors in trace.stages["head"])
    features = trace.stages["clip_image"][1]["features"].numpy()
    rows, columns = plan.windows_grid
    feeds = {"window_features": features.reshape(rows, columns, *features.shape[1:]), **inputs}
    if networks.recipe.row.across == "features":
        part = head_part(plan, 0, trace.affinities[0][1].numpy())
        return {**feeds, **part}, {"logits": outputs["logits"][..., : plan.aggregated[0].tokens_hw[1]]}
    logits = outputs["logits"]  # [B, Q, h, w] → [Q, Wy·h, Wx·w]
    _, queries, h, w = logits.shape
    grid = logits.reshape(rows, columns, queries, h, w).transpose(2, 0, 3, 1, 4)
    return feeds, {"logits": grid.reshape(queries, rows * h, columns * w)}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {
        name: np.ascontiguousarray(tensor.numpy()) if tensor.ndim else tensor.numpy()
        for name, tensor in tensors.items()
    }
