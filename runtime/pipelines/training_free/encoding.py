"""The first half of the pipeline: a photo and embeddings go through the engines and come out as logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from ...backends.base import Session
from ...geometry.dimensions import Dimensions
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...stage.arrays import Array
from ..promptable.sam_encoder import encode_sam
from .methods import Method
from .plan import Plan
from .windows import cut_windows

Sessions = Mapping[str, Session]
AnyArray = TypeVar("AnyArray", bound=Array)


class Encoded(NamedTuple):
    """What the engines made of a photo."""

    logits: np.ndarray
    """[Q, vh, vw] float32."""
    sam_features: Array | None
    """[1, 256, 64, 64] float32 for SAM's usual sizes, where its engine computed it; None where SAM was not run."""


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
    spread = features.reshape(*plan.windows_grid, *features.shape[1:])
    feeds: dict[str, Array] = {"window_features": spread, "embeddings": embeddings}
    logits, sam = [], {}
    for part, frame in enumerate(plan.aggregated if method.affinity else ()):
        sam = encode_sam(photo, frame, sessions["sam_encoder"], dimensions, parameters, clock)
        with clock("head"):  # before the next part is encoded, whose affinity may take the place of this one
            logits.append(sessions["head"].run({**feeds, **head_part(plan, part, sam["affinity"])})["logits"])
    if not method.affinity:
        with clock("head"):
            logits.append(sessions["head"].run(feeds)["logits"])
    if parameters.refine and plan.aggregated != (plan.sam,):  # else the features came with the affinity
        assert plan.sam is not None, "checked when the parameters were"
        sam = encode_sam(photo, plan.sam, sessions["sam_encoder"], dimensions, parameters, clock)
    return Encoded(logits[0] if len(logits) == 1 else np.concatenate(logits, axis=2), sam.get("features"))


def head_part(plan: Plan, part: int, affinity: AnyArray) -> dict[str, np.ndarray | AnyArray]:
    """What the head takes beside features and embeddings, for a part of the photo with an affinity of its own.

    Args:
        plan: the plan for the photo's size.
        part: which of `plan.aggregated`.
        affinity: [N, N] over SAM's tokens.
    """
    assert plan.splice_rows is not None and plan.splice_columns is not None, "made for methods that splice features"
    widths = [frame.tokens_hw[1] for frame in plan.aggregated]
    start = sum(widths[:part])
    columns = plan.splice_columns[start : start + widths[part]]
    return {"row_weights": plan.splice_rows, "column_weights": columns, "affinity": affinity}


def encode_windows(windows: np.ndarray, sessions: Sessions, method: Method, batch: int, clock: Clock) -> Array:
    """Run `dino`, where the method has it, and `clip_image` on all windows.

    On a GPU windows go there once, and features stay there: each batch writes its rows of one array.

    Args:
        windows: [B, 3, crop, crop] float32 RGB in [0, 1].
        sessions: the engines by stage.
        method: the method's row.
        batch: windows per call.
        clock: gets the time of every step.

    Returns:
        [B, D, h, w] float32.
    """
    clip, count = sessions["clip_image"], len(windows)
    parts = [slice(start, min(start + batch, count)) for start in range(0, count, batch)]
    inputs = (sessions["dino"] if method.proxy else clip).put("windows", windows)
    feeds: list[dict[str, Array]] = [{"windows": inputs[part]} for part in parts]
    if method.proxy:
        dino = sessions["dino"]
        with clock("dino"):
            similar = dino.empty("features", B=count)
            outputs = [dino.run(feed, {"features": similar[part]}) for feed, part in zip(feeds, parts, strict=True)]
        means = mean_similarities(np.concatenate([output["mean_similarity"] for output in outputs]), method)
        for feed, part in zip(feeds, parts, strict=True):
            feed |= {"dino_features": similar[part], "mean_similarity": means[part]}
    with clock("clip_image"):
        features = clip.empty("features", B=count)
        for feed, part in zip(feeds, parts, strict=True):
            clip.run(feed, {"features": features[part]})
    return features


def mean_similarities(per_window: np.ndarray, method: Method) -> np.ndarray:
    """[B] float32: each window's own mean similarity, or the mean over all windows of the image."""
    if method.mean_over == "window":
        return per_window
    return np.full_like(per_window, per_window.mean(dtype=np.float64))
