"""Proof of prompts: the engines against segment_anything's own SamPredictor, on the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from ....runtime.backends.base import Session
from ....runtime.bundle.bundle import Bundle
from ....runtime.geometry.sam_frame import sam_frame
from ....runtime.pipelines.prompt_input import Prompt, prompt_feeds
from ....runtime.pipelines.promptable.interactive import Prompter
from ....runtime.pipelines.promptable.stages import ENCODER, PROMPT_DECODER
from ....runtime.pipelines.prompted import PromptedMasks
from ..checks import Check, Limits
from ..networks import Networks
from ..trace import Tensors, Trace
from .predictor import maps_of, predictor_of


class PromptTrace(NamedTuple):
    """Prompts on a photo, and what SamPredictor made of them."""

    prompts: dict[str, Prompt]
    answers: dict[tuple[str, bool], PromptedMasks]
    """By the prompt's name, and whether several masks were asked for."""
    inputs: Tensors
    """Of the decoder's module, for all prompts together."""
    outputs: Tensors
    milliseconds: float
    """That the module took."""


class PromptGap(NamedTuple):
    """How far one prompt's answers are from SamPredictor's."""

    name: str
    agreement: float
    """Smallest share of equal pixels over its masks."""
    iou: float
    """Largest difference of IoU estimates."""


@torch.no_grad()
def trace_prompts(networks: Networks, photo: np.ndarray) -> PromptTrace:
    """Run SamPredictor on a photo, and the module of the stage on its features.

    Args:
        networks: with SAM.
        photo: [H, W, 3] uint8 RGB.
    """
    predictor = predictor_of(networks.models["sam"])
    predictor.set_image(photo)
    hw = (photo.shape[0], photo.shape[1])
    first = answer(predictor, Prompt(points=[[hw[1] / 2, hw[0] / 2]]), multimask=False)
    prompts = sample_prompts(hw, first.low_res_logits[0])
    answers = {(n, many): answer(predictor, prompt, many) for n, prompt in prompts.items() for many in (False, True)}
    frame = sam_frame(hw, networks.dimensions, multiple=1)
    feeds = prompt_feeds(list(prompts.values()), hw, frame)
    given = maps_of(predictor) | {name: torch.from_numpy(x) for name, x in feeds.items()}
    inputs = {name: given[name] for name in networks.contract(PROMPT_DECODER).input_names}
    start = time.perf_counter()
    low_res, iou = networks.modules[PROMPT_DECODER](*inputs.values())
    milliseconds = (time.perf_counter() - start) * 1e3
    return PromptTrace(prompts, answers, inputs, {"low_res_logits": low_res, "iou": iou}, milliseconds)


def sample_prompts(photo_hw: tuple[int, int], mask: np.ndarray) -> dict[str, Prompt]:
    """Points, a box, a mask, and their combinations.

    Args:
        photo_hw: the photo's size.
        mask: [m, m] logits of a round before.
    """
    h, w = photo_hw
    points = [[0.5 * w, 0.45 * h], [0.3 * w, 0.6 * h], [0.05 * w, 0.9 * h]]
    box = [0.2 * w, 0.15 * h, 0.8 * w, 0.75 * h]
    return {
        "a point": Prompt(points[:1]),
        "points on and off": Prompt(points, [1, 1, 0]),
        "a box": Prompt(box=box),
        "a mask": Prompt(mask=mask),
        "a point and a box": Prompt(points[1:2], box=box),
        "points and a mask": Prompt(points, [1, 1, 0], mask=mask),
        "a box and a mask": Prompt(box=box, mask=mask),
        "points, a box and a mask": Prompt(points, [1, 1, 0], box=box, mask=mask),
    }


def prompt_gaps(
    bundle: Bundle, open_engine: Callable[[str], Session], photo: np.ndarray, trace: PromptTrace
) -> Iterator[PromptGap]:
    """Ask the bundle's engines the same, from the photo on; all prompts in one batch.

    Yields:
        One gap for each prompt, over its single mask and its three.
    """
    with open_engine(ENCODER) as encoder, open_engine(PROMPT_DECODER) as decoder:
        prompter = Prompter(bundle.manifest.dimensions, encoder, decoder, bundle.recipe.parameters)
        encoded = prompter.encode(photo)
        came = {many: encoded.predict_many(list(trace.prompts.values()), multimask=many) for many in (False, True)}
    for index, name in enumerate(trace.prompts):
        pairs = [(came[many][index], trace.answers[name, many]) for many in (False, True)]
        shares = [
            float((a == b).mean()) for ours, theirs in pairs for a, b in zip(ours.masks, theirs.masks, strict=True)
        ]
        gaps = [float(np.abs(ours.iou - theirs.iou).max()) for ours, theirs in pairs]
        yield PromptGap(name, min(shares), max(gaps))


def answer(predictor: Any, prompt: Prompt, multimask: bool) -> PromptedMasks:
    """SamPredictor's answer to one prompt."""
    points = None if prompt.points is None else np.array(prompt.points, np.float64)
    labels = None if points is None else np.array(prompt.labels or [1] * len(points))
    masks, iou, low_res = predictor.predict(
        point_coords=points,
        point_labels=labels,
        box=None if prompt.box is None else np.array(prompt.box, np.float64),
        mask_input=None if prompt.mask is None else prompt.mask[None],
        multimask_output=multimask,
    )
    return PromptedMasks(masks, iou, low_res)


def record_prompts(networks: Networks, trace: Trace) -> PromptTrace:
    """Run SamPredictor on a trace's photo, and record the decoder's stage in the trace."""
    prompted = trace_prompts(networks, trace.photo)
    trace.stages[PROMPT_DECODER] = prompted.inputs, prompted.outputs
    trace.timings[PROMPT_DECODER] = prompted.milliseconds
    return prompted


def prove_prompts(
    bundle: Bundle, open_engine: Callable[[str], Session], photo: np.ndarray, prompted: PromptTrace, limits: Limits
) -> Iterator[Check]:
    """Compare the engines' answers with SamPredictor's."""
    least, most = limits.prompted
    for gap in prompt_gaps(bundle, open_engine, photo, prompted):
        passed = gap.agreement >= least and gap.iou <= most
        told = f"SamPredictor's: agreement ≥ {least:g}, IoU within {most:g}"
        yield Check("prompt", gap.name, {"agreement": gap.agreement, "iou_gap": gap.iou}, told, passed)
