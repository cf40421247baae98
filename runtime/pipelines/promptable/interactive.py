"""Interactive prompts: encode a photo once, then ask SAM for masks by points, boxes and masks as often as you like.

The manner and the results are those of segment_anything's SamPredictor, on engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...backends.base import Session
from ...backends.options import SessionOptions
from ...bundle.bundle import Bundle
from ...bundle.opening import open_stage
from ...errors import BundleError
from ...geometry.bands import resize
from ...geometry.dimensions import Dimensions
from ...geometry.sam_frame import SamFrame, sam_frame
from ...photo.reading import as_photo
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...stage.arrays import to_host
from .prompt_input import Prompt, prompt_feeds
from .sam_encoder import encode_sam

ENCODER, DECODER = "sam_encoder", "sam_prompt_decoder"


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
        timings: milliseconds per step of the encoding.
    """

    def __init__(
        self, photo: np.ndarray, features: np.ndarray, frame: SamFrame, decoder: Session, batch: int, clock: Clock
    ) -> None:
        self.photo = photo
        self.features = features
        self.timings = clock.timings()
        self._frame = frame
        self._decoder = decoder
        self._batch = batch

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
        hw = (self.photo.shape[0], self.photo.shape[1])
        answers = []
        for start in range(0, len(prompts), self._batch):
            feeds = prompt_feeds(prompts[start : start + self._batch], hw, self._frame)
            outputs = self._decoder.run({"sam_features": self.features, **feeds})
            for logits, iou in zip(outputs["low_res_logits"][:, chosen], outputs["iou"][:, chosen], strict=True):
                full = resize(self._frame.mask_rows, self._frame.mask_columns, logits)
                answers.append(PromptedMasks(full > 0, iou, logits))
        return answers


class Prompter:
    """SAM's engines of a bundle, without the rest of the pipeline. A context manager."""

    def __init__(
        self, dimensions: Dimensions, encoder: Session, decoder: Session, parameters: Parameters | None = None
    ) -> None:
        """A prompter over sessions that are open already (`Prompter.load` opens a bundle's).

        Args:
            dimensions: the bundle's.
            encoder: `sam_encoder`, with or without the affinity.
            decoder: `sam_prompt_decoder`.
            parameters: `max_pixels` and `prompt_batch` are used.
        """
        self._dimensions = dimensions
        self._encoder = encoder
        self._decoder = decoder
        self._parameters = parameters or Parameters()

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        *,
        backend: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        device: int = 0,
        allow_fallback: bool = False,
        allow_host_code: bool = False,
    ) -> Prompter:
        """Open a bundle's two engines for prompts.

        Args:
            bundle: the folder that `export-engines` wrote.
            backend: what runs the engines, or "auto" for the fastest on a CPU that is installed.
            precision: one that the bundle holds, or that the backend makes of FP32.
            threads: threads within an operator on the CPU; None leaves the choice to the backend.
            device: which GPU, for backends that use one.
            allow_fallback: whether work that a GPU provider does not take may run on the CPU; else that is an error.
            allow_host_code: whether version-compatible TensorRT plans may be opened, from sources that you trust.

        Raises:
            BundleError: the bundle is missing, damaged or lacks a stage.
            MissingExtraError: the backend is not installed.
        """
        opened = Bundle.load(bundle)
        if opened.recipe.sam is None:
            raise BundleError(f"{opened.path} has no SAM, and so nothing to prompt; add a [sam] table to its recipe")
        opened.stage(DECODER)  # what is missing is told before the larger engine is opened
        options = SessionOptions(
            threads=threads, device=device, allow_fallback=allow_fallback, allow_host_code=allow_host_code
        )
        encoder, decoder = (open_stage(opened, stage, precision, backend, options) for stage in (ENCODER, DECODER))
        return cls(opened.manifest.dimensions, encoder, decoder, opened.recipe.parameters)

    def encode(self, photo: str | Path | np.ndarray) -> PromptablePhoto:
        """Encode a photo, as SamPredictor does it: its longest side resized to SAM's, nothing aligned to patches.

        Args:
            photo: a path, or [H, W, 3] uint8 RGB.

        Raises:
            PhotoError: the photo cannot be read.
            EngineError: the engine failed or returned NaN.
        """
        clock = Clock()
        with clock("decode"):
            image = as_photo(photo, self._parameters.max_pixels)
        frame = sam_frame((image.shape[0], image.shape[1]), self._dimensions, multiple=1)
        outputs = encode_sam(image, frame, self._encoder, self._dimensions, self._parameters, clock)
        features = to_host(outputs["features"])  # another photo may be encoded while this one is still prompted
        return PromptablePhoto(image, features, frame, self._decoder, self._parameters.prompt_batch, clock)

    def close(self) -> None:
        """Free both engines."""
        self._encoder.close()
        self._decoder.close()

    def __enter__(self) -> Prompter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
