"""The first half of the pipeline: a photo and embeddings go through the engines and come out as logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np

from ...backends.base import Session
from ...errors import EngineError
from ...geometry.dimensions import Dimensions
from ...geometry.limits import ARRAY, refuse_more
from ...geometry.sam_frame import SamFrame
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...stage.arrays import Array
from ..beside import beside
from ..promptable.sam_encoder import encode_sam
from ..promptable.stages import features_in
from .methods import Method
from .plan import Plan
from .stages import CLIP, DINO, HEAD, SAM
from .windows import cut_windows

Sessions = Mapping[str, Session]
AnyArray = TypeVar("AnyArray", bound=Array)


class Encoded(NamedTuple):
    """A photo as the engines encoded it."""

    logits: np.ndarray
    """[Q, vh, vw] float32."""
    sam_features: Mapping[str, Array] | None
    """As SAM's decoder takes them, where its engine computed them; None where SAM was not run."""


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

    Raises:
        EngineError: an engine failed, or what it returned does not fit.
        PhotoError: the logits would be too large.
    """
    refuse_logits(len(embeddings), plan)
    whole: dict[str, Array] | None = None
    with seen_by_sam(photo, plan, sessions, method, dimensions, parameters, clock) as seen:
        features = encode_all_windows(photo, plan, sessions, method, parameters, clock)

        def affinities() -> Iterator[Array]:
            nonlocal whole
            for _ in parts_of(plan, method):
                made = next(seen)
                whole = made if plan.aggregated == (plan.sam,) else None
                yield made["affinity"]

        logits = photo_logits(features, affinities(), embeddings, plan, sessions[HEAD], clock)
        whole = next(seen, whole)
    return Encoded(logits, features_in(whole) if whole else None)


def parts_of(plan: Plan, method: Method) -> tuple[SamFrame, ...]:
    """The parts of a photo that have an affinity of their own."""
    return plan.aggregated if method.affinity else ()


@contextmanager
def seen_by_sam(
    photo: np.ndarray,
    plan: Plan,
    sessions: Sessions,
    method: Method,
    dimensions: Dimensions,
    parameters: Parameters,
    clock: Clock,
) -> Iterator[Iterator[dict[str, Array]]]:
    """Run SAM's encoder on all that it has to see of a photo; arguments and errors are those of `encode_photo`.

    It needs nothing of DINO and CLIP. Where its engine overlaps with others, it is begun at once, and the block's
    engines run beside it. (Only the first time, since each takes the place of the one before.)

    Yields:
        What the encoder made of each of `parts_of`; then of the whole photo, if refinement wants it and no part is the
        whole. The next is made when it is asked for, in the room of the one before.
    """
    parts = parts_of(plan, method)
    assert plan.sam is not None or not parameters.refine, "checked when the parameters were"
    whole = (plan.sam,) if plan.sam and parameters.refine and parts != (plan.sam,) else ()
    frames = (*parts, *whole)

    def encoded(frame: SamFrame) -> dict[str, Array]:
        return encode_sam(photo, frame, sessions[SAM], dimensions, parameters, clock)

    overlaps = bool(frames) and sessions[SAM].overlaps
    with beside(lambda: encoded(frames[0]), overlaps, clock) as first:
        yield (encoded(frame) if number else first() for number, frame in enumerate(frames))


def encode_all_windows(
    photo: np.ndarray, plan: Plan, sessions: Sessions, method: Method, parameters: Parameters, clock: Clock
) -> Array:
    """The features of a photo's windows; arguments and errors are those of `encode_photo`.

    Returns:
        [Wy, Wx, D, h, w] float32.
    """
    with clock("windows"):
        windows = cut_windows(photo, plan, parameters.crop)
    features = encode_windows(windows, sessions, method, parameters.window_batch, clock)
    return features.reshape(*plan.windows_grid, *features.shape[1:])


def photo_logits(
    features: Array, affinities: Iterable[Array], embeddings: np.ndarray, plan: Plan, head: Session, clock: Clock
) -> np.ndarray:
    """The logits of words on a photo.

    Args:
        features: [Wy, Wx, D, h, w] float32, from `encode_all_windows`.
        affinities: [N, N] float32 over SAM's tokens for each of `plan.aggregated`, for methods that have them. A part's
            logits are made before the next part's affinity is asked for, which may take the place of its own.
        embeddings: [Q, E] float32.
        plan: the plan for the photo's size.
        head: its engine.
        clock: gets the time of every step.

    Returns:
        [Q, vh, vw] float32.

    Raises:
        EngineError: the head failed, or what it returned does not fit.
    """
    feeds: dict[str, Array] = {"window_features": features, "embeddings": embeddings}

    def logits_of(part: Mapping[str, Array]) -> np.ndarray:
        with clock(HEAD):
            return head.run({**feeds, **part})["logits"]

    parts = [logits_of(head_part(plan, part, affinity)) for part, affinity in enumerate(affinities)]
    logits = np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0] if parts else logits_of({})
    _check_logits(logits, len(embeddings), plan)
    return logits


def refuse_logits(queries: int, plan: Plan) -> None:
    """Refuse logits that would be too large, before any engine runs.

    Raises:
        PhotoError: says how large, and what to change.
    """
    h, w = plan.photo.rows.shape[1], plan.photo.columns.shape[1]
    fewer = "Name fewer classes, or choose a larger stride."
    refuse_more(4 * queries * h * w, ARRAY, f"the logits of {queries:,} names on a grid of {w}×{h}", fewer)


def _check_logits(logits: np.ndarray, queries: int, plan: Plan) -> None:
    """Refuse logits on another grid than the plan's: the contract leaves it to the engine where windows are joined.

    Raises:
        EngineError: says what was expected and what came.
    """
    expected = (queries, plan.photo.rows.shape[1], plan.photo.columns.shape[1])
    if logits.shape != expected:
        told = f"logits must have shape {list(expected)} for this photo, came out of the engine as {list(logits.shape)}"
        raise EngineError(f"{HEAD}: {told}", HEAD)


def head_part(plan: Plan, part: int, affinity: AnyArray) -> dict[str, np.ndarray | AnyArray]:
    """The head's inputs beside features and embeddings, for a part of the photo with an affinity of its own.

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
    clip, count = sessions[CLIP], len(windows)
    parts = [slice(start, min(start + batch, count)) for start in range(0, count, batch)]
    inputs = (sessions[DINO] if method.proxy else clip).put("windows", windows)
    feeds: list[dict[str, Array]] = [{"windows": inputs[part]} for part in parts]
    if method.proxy:
        dino = sessions[DINO]
        with clock(DINO):
            similar = dino.empty("features", B=count)
            outputs = [dino.run(feed, {"features": similar[part]}) for feed, part in zip(feeds, parts, strict=True)]
        means = mean_similarities(np.concatenate([output["mean_similarity"] for output in outputs]), method)
        for feed, part in zip(feeds, parts, strict=True):
            feed |= {"dino_features": similar[part], "mean_similarity": means[part]}
    with clock(CLIP):
        features = clip.empty("features", B=count)
        for feed, part in zip(feeds, parts, strict=True):
            clip.run(feed, {"features": features[part]})
    return features


def mean_similarities(per_window: np.ndarray, method: Method) -> np.ndarray:
    """[B] float32: each window's own mean similarity, or the mean over all windows of the image."""
    if method.mean_over == "window":
        return per_window
    return np.full_like(per_window, per_window.mean(dtype=np.float64))
