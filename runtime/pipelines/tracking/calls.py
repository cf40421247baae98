"""The calls of the four engines, for some objects of a frame at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backends.base import Session
from ...geometry.sam_frame import SamFrame, sam_frame
from ...reporting import Clock
from ...stage.arrays import Array
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
    maps: Mapping[str, Array]
    """Features, as the decoder calls them, where the encoder left them."""

    @property
    def features(self) -> Array:
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
        encoder = self.sessions[ENCODER]
        return Seen(photo, frame, {name: encoder.keep(array) for name, array in features_in(outputs).items()})

    def recall(self, seen: Seen, reads: Sequence[Read]) -> Array:
        """The frame's features as the memories of objects make them that read the same frames: [O, C, g, g].

        They stay where they were made, until the next call.
        """
        reading, attention = reads[0].reading, self.sessions[MEMORY_ATTENTION]
        channels: Any = attention.contract.input("pointers").shape[-1]
        memories = attention.stack("memory", [memory for read in reads for memory in read.memories])
        feeds = {
            "features": seen.features,
            "memory": memories.reshape(len(reads), len(reading.ages), *memories.shape[1:]),
            "memory_age": np.array(reading.ages, np.int32),
            "pointers": np.array([read.pointers for read in reads], np.float32).reshape(len(reads), -1, channels),
            "pointer_distance": np.array(reading.distances, np.float32),
        }
        with self.clock(MEMORY_ATTENTION):
            made = attention.empty("conditioned", O=len(reads))
            attention.run(feeds, {"conditioned": made})
            return made

    def ask(self, seen: Seen, features: Array, prompt: Prompt | None = None, given: int = ASKED) -> Said:
        """The decoder on objects whose features are [O, C, g, g].

        Args:
            seen: the frame.
            features: of each object.
            prompt: of the only one; None where nothing is said.
            given: whether a mask was given, `ASKED`, `GIVEN` or `GIVEN_EMPTY`.
        """
        said = self._prompt(seen, prompt) if prompt is not None else self._silence(len(features))
        feeds: dict[str, Array] = {**said}
        feeds |= {name: seen.maps[name] for name in HIGH_RES}
        feeds |= {"sam_features": features, "given": np.full(len(features), given, np.int32)}
        with self.clock(TRACK_DECODER):
            out = self.sessions[TRACK_DECODER].run(feeds)
        return Said(out["low_res_logits"], out["iou"], out["pointers"], out["object_score"])

    def remember(self, seen: Seen, logits: np.ndarray, binarise: np.ndarray, scores: np.ndarray) -> list[Array]:
        """A memory of each of O objects, [T, D] float32, where later frames read it.

        Each crosses to the host once, to be rounded: in a graph it would need a type that not all GPUs take.

        Args:
            seen: the frame.
            logits: [O, h, w].
            binarise: [O] bool, whether only signs count.
            scores: [O].
        """
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
        own = to_bfloat16 if self.parameters.round_memory else np.copy
        return [self.sessions[MEMORY_ATTENTION].hold("memory", own(each)) for each in memory]

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
