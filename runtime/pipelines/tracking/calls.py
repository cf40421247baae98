"""The calls of the four engines, for some objects of a frame at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backends.base import Session
from ...geometry.sam_frame import SamFrame, sam_frame
from ...reporting import Clock
from ...stage.arrays import to_host
from ..prompt_input import Prompt, prompt_feeds
from ..promptable.sam_encoder import encode_sam
from ..promptable.stages import ENCODER, HIGH_RES, features_in
from .memory import Read, to_bfloat16
from .sizes import TrackingDimensions
from .stages import ASKED, MEMORY_ATTENTION, MEMORY_ENCODER, NO_POINT, TRACK_DECODER


class Seen(NamedTuple):
    """An encoded frame."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    frame: SamFrame
    maps: Mapping[str, np.ndarray]
    """Features, as the decoder calls them."""

    @property
    def features(self) -> np.ndarray:
        """[1, C, g, g], as of a frame that reads no memory."""
        return self.maps["sam_features"]


class Said(NamedTuple):
    """What the decoder says of some objects."""

    logits: np.ndarray
    """[O, 4, m, m]."""
    iou: np.ndarray
    """[O, 4]."""
    pointers: np.ndarray
    """[O, 4, C]."""
    scores: np.ndarray
    """[O, 1]."""


class Calls:
    """The engines of a model with a memory."""

    def __init__(self, sessions: Mapping[str, Session], sizes: TrackingDimensions, parameters: Any) -> None:
        """Calls of open engines.

        Args:
            sessions: by stage.
            sizes: the model's.
            parameters: those in force.
        """
        self.sessions, self.sizes, self.parameters = sessions, sizes, parameters
        self.clock = Clock()

    def encode(self, photo: np.ndarray) -> Seen:
        """A frame, [H, W, 3] uint8 RGB, encoded for all objects."""
        frame = sam_frame((photo.shape[0], photo.shape[1]), self.sizes, multiple=1)
        outputs = encode_sam(photo, frame, self.sessions[ENCODER], self.sizes, self.parameters, self.clock)
        return Seen(photo, frame, {name: to_host(array) for name, array in features_in(outputs).items()})

    def recall(self, seen: Seen, reads: Sequence[Read]) -> np.ndarray:
        """The frame's features as the memories of objects make them that read the same frames: [O, C, g, g]."""
        reading = reads[0].reading
        feeds = {
            "features": seen.features,
            "memory": np.stack([np.stack(read.memories) for read in reads]),
            "memory_age": np.array(reading.ages, np.int32),
            "pointers": np.stack([np.stack(read.pointers) for read in reads]),
            "pointer_distance": np.array(reading.distances, np.float32),
        }
        with self.clock(MEMORY_ATTENTION):
            return self.sessions[MEMORY_ATTENTION].run(feeds)["conditioned"]

    def ask(self, seen: Seen, features: np.ndarray, prompt: Prompt | None = None, given: int = ASKED) -> Said:
        """The decoder on objects whose features are [O, C, g, g].

        Args:
            seen: the frame.
            features: of each object.
            prompt: of the only one; None where nothing is said.
            given: whether a mask was given, `ASKED`, `GIVEN` or `GIVEN_EMPTY`.
        """
        feeds = self._prompt(seen, prompt) if prompt is not None else self._silence(len(features))
        feeds |= {name: seen.maps[name] for name in HIGH_RES}
        feeds |= {"sam_features": features, "given": np.full(len(features), given, np.int32)}
        with self.clock(TRACK_DECODER):
            out = self.sessions[TRACK_DECODER].run(feeds)
        return Said(out["low_res_logits"], out["iou"], out["pointers"], out["object_score"])

    def remember(self, seen: Seen, logits: np.ndarray, binarise: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Memories of objects, [O, T, D] float32: of logits [O, h, w], whether only signs count [O], scores [O]."""
        feeds = {
            "features": seen.features,
            "mask_logits": np.ascontiguousarray(logits[:, None]),
            "binarise": binarise,
            "object_score": scores.astype(np.float32)[:, None],
        }
        encoder = self.sessions[MEMORY_ENCODER]
        taken = {name: feeds[name] for name in encoder.contract.input_names}  # SAM 2.0 and EdgeTAM read no score
        with self.clock(MEMORY_ENCODER):
            memory = encoder.run(taken)["memory"]
        return to_bfloat16(memory) if self.parameters.round_memory else memory

    def _prompt(self, seen: Seen, prompt: Prompt) -> dict[str, np.ndarray]:
        feeds = prompt_feeds([prompt], (seen.photo.shape[0], seen.photo.shape[1]), seen.frame)
        if not (feeds["labels"] >= 0).any():
            feeds["labels"][:, :1] = NO_POINT
        return feeds

    def _silence(self, count: int) -> dict[str, np.ndarray]:
        """Nothing said about so many objects."""
        side = self.sizes.mask_side
        return {
            "points": np.zeros((count, 1, 2), np.float32),
            "labels": np.full((count, 1), NO_POINT, np.int32),
            "mask_prompts": np.zeros((count, 1, side, side), np.float32),
            "has_mask": np.zeros(count, bool),
        }
