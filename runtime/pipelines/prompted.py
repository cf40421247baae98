"""A photo that a promptable model has encoded, and its answers to prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..backends.base import Session
from ..boundary.arguments import public
from ..geometry.bands import resize
from ..geometry.sam_frame import SamFrame
from ..reporting import Clock
from ..stage.arrays import Array, to_host
from .prompt_input import Prompt, prompt_feeds


@dataclass(frozen=True, eq=False)
class PromptedMasks:
    """SAM's answer to one prompt.

    Attributes:
        masks: [M, H, W] bool at the photo's size; M is 3 for `multimask`, else 1.
        iou: [M] float32, SAM's own estimate of each mask's IoU.
        low_res_logits: [M, m, m] float32 over SAM's square frame; one of them can be the next round's mask prompt.
    """

    masks: np.ndarray
    iou: np.ndarray
    low_res_logits: np.ndarray

    @property
    def best(self) -> int:
        """Index of the mask with the largest IoU estimate."""
        return int(self.iou.argmax())


class PromptablePhoto:
    """A photo that SAM has encoded. Made by `Segmenter.prompt` and `Prompter.encode`.

    Attributes:
        photo: [H, W, 3] uint8 RGB, upright.
        features: [1, 256, 64, 64] float32 for SAM's usual sizes.
        feature_maps: all that the decoder takes of the photo, by its inputs' names: `sam_features` alone, or with it
            `high_res_0` [1, 32, 256, 256] and `high_res_1` [1, 64, 128, 128] for SAM 2's kin.
        frame: how the photo lies in SAM's input, and how masks come back from it.
        timings: milliseconds per step of the encoding.
    """

    def __init__(
        self,
        photo: np.ndarray,
        feature_maps: Mapping[str, Array],
        frame: SamFrame,
        decoder: Session,
        batch: int,
        clock: Clock,
        turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (holds nothing)
        logit_limit: float = 0.0,
    ) -> None:
        self.photo = photo
        self._maps = feature_maps
        self.timings = clock.timings()
        self.frame = frame
        self._decoder = decoder
        self._batch = batch
        self._turn = turn
        self._limit = logit_limit or np.inf

    @cached_property
    def feature_maps(self) -> Mapping[str, np.ndarray]:
        """All that the decoder takes of the photo; on a GPU, copies of what stays there."""
        with self._turn:
            return {name: to_host(array) for name, array in self._maps.items()}

    @property
    def features(self) -> np.ndarray:
        """The features on the model's grid, the first of `feature_maps`."""
        return next(iter(self.feature_maps.values()))

    @public()
    def predict(
        self, points: Any = None, labels: Any = None, *, box: Any = None, mask: Any = None, multimask: bool = True
    ) -> PromptedMasks:
        """Masks of one object.

        Args:
            points: [N, 2], x y in photo pixels.
            labels: [N], 1 for a point on the object, 0 for one off it; None means that all are on it.
            box: [4], x₀ y₀ x₁ y₁ in photo pixels.
            mask: [m, m] low-resolution logits of a round before.
            multimask: three masks for what may be meant (good for a single point), or one (better for several
                prompts).

        Raises:
            PromptError: nothing is given, or something of a wrong shape or value.
            EngineError: the engine failed or returned NaN.
        """
        return self.predict_many([Prompt(points, labels, box, mask)], multimask=multimask)[0]

    @public()
    def predict_many(self, prompts: Sequence[Prompt], *, multimask: bool = True) -> list[PromptedMasks]:
        """Masks of several objects, in as few calls of the engine as the batch size allows.

        Prompts may differ in their kinds and numbers of points; the answers are those of `predict` for each alone.

        Args:
            prompts: one an object.
            multimask: three masks for each, or one.

        Raises:
            PromptError: a prompt is empty, or something in it has a wrong shape or value.
            EngineError: the engine failed or returned NaN.
        """
        chosen = slice(1, None) if multimask else slice(0, 1)
        answers = []
        for low_res, estimates in low_res_answers(self, prompts):
            for logits, iou in zip(low_res[:, chosen], estimates[:, chosen], strict=True):
                full = resize(self.frame.mask_rows, self.frame.mask_columns, logits)
                answers.append(PromptedMasks(full > 0, iou, logits.clip(-self._limit, self._limit)))
        return answers


def low_res_answers(photo: PromptablePhoto, prompts: Sequence[Prompt]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All that the decoder says, call by call, before anything is enlarged.

    Args:
        photo: an encoded one.
        prompts: one an object.

    Yields:
        [R, 4, m, m] float32 logits, and [R, 4] float32 IoU estimates, of as many prompts as a call takes. The first of
        the four is the single mask, the others are what may be meant.

    Raises:
        PromptError: a prompt is empty, or something in it has a wrong shape or value.
        EngineError: the engine failed or returned NaN.
    """
    hw = (photo.photo.shape[0], photo.photo.shape[1])
    for start in range(0, len(prompts), photo._batch):
        feeds = prompt_feeds(prompts[start : start + photo._batch], hw, photo.frame)
        with photo._turn:
            outputs = photo._decoder.run({**photo._maps, **feeds})
        yield outputs["low_res_logits"], outputs["iou"]
