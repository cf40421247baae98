"""One script of prompts, followed by transformers' video models and by our tracker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from support.sam2_video import SIDE

LIMIT = 32.0
"""Meta's bound of logits that go back into the decoder."""

Answers = dict[tuple[int, int], tuple[np.ndarray, float]]
"""Low-resolution logits and score, by frame and object."""


class Said(NamedTuple):
    """A prompt of the script, in pixels of the frame."""

    frame: int
    id: int
    points: Any = None
    labels: Any = None
    box: Any = None
    mask: Any = None


class Way(NamedTuple):
    """How the script is followed."""

    reverse: bool = False
    """Frames from the last to the first."""
    before: bool = False
    """All prompts before any frame is tracked."""
    apart: bool = False
    """transformers: each object in a session of its own."""
    previous: bool = False
    """transformers: a correction sees the logits of before, which its `forward` cannot be told."""

    def frames(self, count: int) -> Iterator[int]:
        yield from reversed(range(count)) if self.reverse else range(count)


PLAIN = Way()


def theirs_of(model: Any, frames: np.ndarray, script: Sequence[Said], way: Way = PLAIN) -> Answers:
    """transformers' answers on frames [F, H, W, 3] uint8."""
    if way.apart:
        alone = way._replace(apart=False)
        found: Answers = {}
        for key in dict.fromkeys(each.id for each in script):
            found |= theirs_of(model, frames, [each for each in script if each.id == key], alone)
        return found
    session = _session(model, frames)
    asked = list(script)
    found = {}
    with torch.inference_mode():
        if way.before:
            for each in asked:
                _tell(session, each, frames.shape[1:3])
                model(session, frame_idx=each.frame)
            asked = []
        for t in way.frames(len(frames)):
            prompts = [each for each in asked if each.frame == t]
            if any(each.id in session.obj_ids for each in prompts):  # a correction: the frame is tracked before
                model(session, frame_idx=t, reverse=way.reverse)
            for each in prompts:
                _tell(session, each, frames.shape[1:3])
            if not session.obj_ids:
                continue
            with _Before(model, session, way.previous and prompts):
                out = model(session, frame_idx=t, reverse=way.reverse)
            for key, logits, score in zip(out.object_ids, out.pred_masks, out.object_score_logits, strict=True):
                found[t, key] = logits.squeeze().numpy(), float(score)
    return found


def _session(model: Any, frames: np.ndarray) -> Any:
    kind = type(model).__name__.removesuffix("Model")
    module = __import__(type(model).__module__, fromlist=["_"])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    seen = np.stack([_stretched(frame) for frame in frames])
    pixels = (torch.from_numpy(seen) / 255 - mean) / std
    height, width = frames.shape[1:3]
    return getattr(module, f"{kind}InferenceSession")(
        video=pixels, video_height=height, video_width=width, dtype=torch.float32
    )


def _stretched(frame: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 → [3, S, S] float32, antialiased."""
    planes = frame.transpose(2, 0, 1).astype(np.float32)
    return np.stack([np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.BILINEAR)) for plane in planes])


def _tell(session: Any, said: Said, hw: tuple[int, int]) -> None:
    index = session.obj_id_to_idx(said.id)
    if said.mask is not None:
        session.add_mask_inputs(index, said.frame, torch.from_numpy(said.mask)[None, None])
    else:
        scale = SIDE / np.array(hw[::-1], np.float32)
        points = np.array(said.points if said.box is None else np.reshape(said.box, (2, 2)), np.float32) * scale
        labels = np.array(said.labels if said.box is None else [2, 3], np.int32)
        inputs = {
            "point_coords": torch.from_numpy(points)[None, None],
            "point_labels": torch.from_numpy(labels)[None, None],
        }
        session.add_point_inputs(index, said.frame, inputs)
    session.obj_with_new_inputs.append(said.id)


class _Before:
    """While it is open, points on a tracked frame come with the logits that were answered there before."""

    def __init__(self, model: Any, session: Any, wanted: Any) -> None:
        self.model, self.session, self.wanted = model, session, wanted

    def __enter__(self) -> None:
        if not self.wanted:
            return
        plain = self.model._run_single_frame_inference

        def run(*, obj_idx: int, frame_idx: int, point_inputs: Any, **more: Any) -> Any:
            outputs = self.session.output_dict_per_obj[obj_idx]["non_cond_frame_outputs"]
            before = outputs[frame_idx]["pred_masks"] if point_inputs is not None and frame_idx in outputs else None
            more["prev_sam_mask_logits"] = None if before is None else before.clamp(-LIMIT, LIMIT)
            return plain(obj_idx=obj_idx, frame_idx=frame_idx, point_inputs=point_inputs, **more)

        self.model._run_single_frame_inference = run

    def __exit__(self, *told: object) -> None:
        self.model.__dict__.pop("_run_single_frame_inference", None)


def ours_of(tracker: Any, frames: np.ndarray, script: Sequence[Said], way: Way = PLAIN) -> Answers:
    """The tracker's answers."""
    found = {}
    asked = list(script)

    def tell(each: Said, frame: np.ndarray) -> None:
        how = {"points": each.points, "labels": each.labels, "box": each.box, "mask": each.mask}
        tracker.prompt(frame, each.id, index=each.frame, reverse=way.reverse, **how)

    if way.before:
        for each in asked:
            tell(each, frames[each.frame])
        asked = []
    for t in way.frames(len(frames)):
        prompts = [each for each in asked if each.frame == t]
        if any(each.id in tracker.object_ids for each in prompts):
            tracker.step(frames[t], index=t, reverse=way.reverse)
        for each in prompts:
            tell(each, frames[t])
        for each in tracker.step(frames[t], index=t, reverse=way.reverse).objects:
            found[t, each.id] = each.low_res_logits, each.score
    return found


class Gap(NamedTuple):
    """How far two answers are apart."""

    worst: float
    """The largest error of a frame's logits, relative to their largest."""
    share: float
    """The least share of pixels with the same sign."""
    margin: float
    """The score of theirs that is closest to 0: a flip there would turn a mask to -1024."""
    score: float
    """The largest error of a score."""
    there: float
    """Share of answers in which the object is there."""

    def __str__(self) -> str:
        return (
            f"logits {self.worst:.1e}, masks {self.share:.6f}, scores {self.score:.1e} apart, "
            f"the closest {self.margin:.1e} from 0, there {self.there:.2f}"
        )

    @property
    def passed(self) -> bool:
        # float32 through a clip, and memories rounded to bfloat16 on both sides, where a tie may fall either way
        return self.worst <= 1e-4 and self.share >= 0.9999


def gap(ours: Answers, theirs: Answers) -> Gap:
    """How far two answers are apart."""
    assert ours.keys() == theirs.keys()
    pairs = [(ours[key], theirs[key]) for key in theirs]
    return Gap(
        worst=max(float(np.abs(a[0] - b[0]).max() / np.abs(b[0]).max()) for a, b in pairs),
        share=min(float(((a[0] > 0) == (b[0] > 0)).mean()) for a, b in pairs),
        margin=min(abs(b[1]) for _, b in pairs),
        score=max(abs(a[1] - b[1]) for a, b in pairs),
        there=float(np.mean([b[1] > 0 for _, b in pairs])),
    )
