"""The first half of the pipeline: a photo and embeddings go through the engines and come out as logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .bundle import Dimensions
from .clock import Clock
from .methods import Method
from .parameters import Parameters
from .photo import cut_windows, sam_image
from .plan import Plan, SamFrame
from .sessions import Session

Sessions = Mapping[str, Session]


class Encoded(NamedTuple):
    """What the engines made of a photo."""

    logits: np.ndarray
    """[Q, vh, vw] float32."""
    sam_features: np.ndarray | None
    """[1, 256, 64, 64] float32 for SAM's usual sizes; None where SAM was not run."""


def encode_photo(
    photo: np.ndarray,
    embeddings: np.ndarray,
    plan: Plan,
    sessions: Sessions,
    method: Method,
    dimensions: Dimensions,
    parameters: Parameters,
    clock: Clock,
) -> Encoded:
    """Run the encoders and the head.

    Args:
        photo: [H, W, 3] uint8 RGB.
        embeddings: [Q, E] float32.
        plan: the plan for the photo's size.
        sessions: the engines by stage.
        method: the method's row.
        dimensions: sizes that the engines fix.
        parameters: the parameters in force.
        clock: gets the time of every step.
    """
    with clock("windows"):
        windows = cut_windows(photo, plan, parameters.crop)
    features = encode_windows(windows, sessions, method, parameters.window_batch, clock)
    feeds = {"window_features": features.reshape(*plan.windows_grid, *features.shape[1:]), "embeddings": embeddings}
    frames = plan.aggregated if method.affinity else ()
    encoded = [encode_sam(photo, frame, sessions, dimensions, parameters, clock) for frame in frames]
    parts = head_parts(plan, [outputs["affinity"] for outputs in encoded]) if frames else [{}]
    with clock("head"):
        logits = [sessions["head"].run({**feeds, **part})["logits"] for part in parts]
    return Encoded(
        logits[0] if len(logits) == 1 else np.concatenate(logits, axis=2),
        _sam_features(photo, plan, encoded, sessions, dimensions, parameters, clock) if parameters.refine else None,
    )


def head_parts(plan: Plan, affinities: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """For every part of the photo with an affinity of its own, what the head takes beside features and embeddings.

    Args:
        plan: the plan for the photo's size.
        affinities: [N, N] over SAM's tokens, one per part.
    """
    assert plan.splice_rows is not None and plan.splice_columns is not None, "made for methods that splice features"
    ends = np.cumsum([frame.tokens_hw[1] for frame in plan.aggregated])
    return [
        {
            "row_weights": plan.splice_rows,
            "column_weights": plan.splice_columns[end - frame.tokens_hw[1] : end],
            "affinity": affinity,
        }
        for frame, end, affinity in zip(plan.aggregated, ends, affinities, strict=True)
    ]


def _sam_features(
    photo: np.ndarray,
    plan: Plan,
    encoded: Sequence[Mapping[str, np.ndarray]],
    sessions: Sessions,
    dimensions: Dimensions,
    parameters: Parameters,
    clock: Clock,
) -> np.ndarray:
    """SAM's features of the whole photo: those that came with its affinity, or made now."""
    assert plan.sam is not None, "checked when the parameters were"
    if plan.aggregated == (plan.sam,) and encoded:
        return encoded[0]["features"]
    return encode_sam(photo, plan.sam, sessions, dimensions, parameters, clock)["features"]


def encode_windows(windows: np.ndarray, sessions: Sessions, method: Method, batch: int, clock: Clock) -> np.ndarray:
    """Run `dino`, where the method has it, and `clip_image` on all windows.

    Args:
        windows: [B, 3, crop, crop] float32 RGB in [0, 1].
        sessions: the engines by stage.
        method: the method's row.
        batch: windows per call.
        clock: gets the time of every step.

    Returns:
        [B, D, h, w] float32.
    """
    feeds = [{"windows": windows[start : start + batch]} for start in range(0, len(windows), batch)]
    if method.proxy:
        with clock("dino"):
            outputs = [sessions["dino"].run(feed) for feed in feeds]
        means = mean_similarities(np.concatenate([output["mean_similarity"] for output in outputs]), method)
        for index, (feed, output) in enumerate(zip(feeds, outputs, strict=True)):
            start = index * batch
            feed["dino_features"] = output["features"]
            feed["mean_similarity"] = means[start : start + batch]
    with clock("clip_image"):
        features = [sessions["clip_image"].run(feed)["features"] for feed in feeds]
    return np.concatenate(features)


def mean_similarities(per_window: np.ndarray, method: Method) -> np.ndarray:
    """[B] float32: each window's own mean similarity, or the mean over all windows of the image."""
    if method.mean_over == "window":
        return per_window
    return np.full_like(per_window, per_window.mean(dtype=np.float64))


def encode_sam(
    photo: np.ndarray,
    frame: SamFrame,
    sessions: Sessions,
    dimensions: Dimensions,
    parameters: Parameters,
    clock: Clock,
) -> dict[str, np.ndarray]:
    """Run `sam_encoder`, with or without the affinity, as its contract says."""
    with clock("sam_image"):
        image = sam_image(photo, frame, dimensions.sam_side, dimensions.sam_padding)
    feeds = {
        "image": image,
        "valid_tokens": valid_tokens(frame, dimensions.sam_grid),
        "affinity_factor": np.array(parameters.affinity_factor, np.float32),
        "keep_negative": np.array(parameters.keep_negative),
    }
    session = sessions["sam_encoder"]
    with clock("sam_encoder"):
        return session.run({name: feeds[name] for name in session.contract.input_names})


def valid_tokens(frame: SamFrame, grid: int) -> np.ndarray:
    """[grid²] float32: 1 for SAM's tokens that lie inside the photo, 0 for padding."""
    mask = np.zeros((grid, grid), np.float32)
    mask[: frame.tokens_hw[0], : frame.tokens_hw[1]] = 1
    return mask.reshape(-1)
