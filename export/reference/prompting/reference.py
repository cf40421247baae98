"""The prompting pipeline in PyTorch: segment_anything's own SamPredictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ....runtime.bundle.bundle import Bundle
from ....runtime.photo.reading import as_photo
from ....runtime.pipelines.promptable.stages import ENCODER, PROMPT_DECODER
from ....runtime.pipelines.prompted import PromptedMasks
from ....runtime.pipelines.prompting.trial import best_of, grid
from ..networks import Networks
from ..promptable.predictor import engine_input, predictor_of
from ..promptable.prompts import PromptTrace, answer, record_prompts
from ..trace import Trace


@dataclass(kw_only=True)
class PromptingTrace(Trace):
    """Values that the reference computed on the way.

    Attributes:
        prompts: SamPredictor's answers to prompts of all kinds.
    """

    prompts: PromptTrace


class PromptReference:
    """SamPredictor on a grid of points, as `PromptTrial` asks the engines."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    @torch.no_grad()
    def segment(self, photo: Any, vocabulary: Any, *, parameters: Mapping[str, Any] | None = None) -> Trace:
        """Label every pixel with a point of the grid, or with 0."""
        settings = self.networks.recipe.override(parameters)
        trace = Trace(photo=as_photo(photo, settings.max_pixels), settings=settings)
        hw = (trace.photo.shape[0], trace.photo.shape[1])
        predictor = predictor_of(self.networks.models["sam"])
        with trace.time(ENCODER):
            predictor.set_image(trace.photo)
        with trace.time(PROMPT_DECODER):
            answers: list[PromptedMasks] = [answer(predictor, prompt, multimask=False) for prompt in grid(hw)]
        trace.mask, trace.scores = best_of(answers, hw)
        trace.coarse = trace.mask
        return trace


def trace_photo(networks: Networks, photo: Any, bundle: Bundle | None = None) -> PromptingTrace:
    """Run SamPredictor on a photo (a path, or [H, W, 3] uint8 RGB), and record both stages."""
    whole = PromptReference(networks).segment(photo, None)
    trace = PromptingTrace(**vars(whole), prompts=None)  # type: ignore[arg-type]  # it is recorded in the trace below
    trace.prompts = record_prompts(networks, trace)
    with torch.no_grad():
        image, _ = engine_input(networks.models["sam"], trace.photo)
        features = networks.modules[ENCODER](image)
    names = networks.contract(ENCODER).output_names
    trace.stages[ENCODER] = {"image": image}, dict(zip(names, features, strict=True))
    return trace


def masks_of(answers: Mapping[tuple[str, bool], PromptedMasks]) -> np.ndarray:
    """[K, H, W] uint16: all masks of some answers, in order."""
    return np.concatenate([each.masks for each in answers.values()]).astype(np.uint16)
