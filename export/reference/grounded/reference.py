"""The grounded pipeline in PyTorch, step by step. It is the truth for every engine.

Boxes are dropped by torchvision, masks are those of the promptable model's own predictor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torchvision.ops import batched_nms

from ....runtime.answers.instance import Instance
from ....runtime.answers.rle import Rle
from ....runtime.answers.visible import box_of
from ....runtime.bundle.bundle import Bundle
from ....runtime.photo.reading import as_photo
from ....runtime.pipelines.grounded.models import row_of
from ....runtime.pipelines.grounded.parameters import GroundedParameters
from ....runtime.pipelines.promptable.stages import ENCODER, PROMPT_DECODER
from ....runtime.words.vocabulary import Vocabulary
from ..networks import Networks
from ..promptable.predictor import engine_input, predictor_of
from ..promptable.prompts import PromptTrace, record_prompts
from ..trace import Trace
from .kinds import Found
from .registry import KINDS


@dataclass(kw_only=True)
class GroundedTrace(Trace):
    """Values that the reference computed on the way.

    Attributes:
        vocabulary: the classes.
        found: the boxes that were asked about, the surest first.
        masks: [N, H, W] bool, their masks, some maybe empty.
        iou: [N] estimates.
        thing_scores: [N] float64, of the boxes as things.
        prompts: the predictor's answers to prompts of all kinds.
    """

    vocabulary: Vocabulary | None = None
    found: Found | None = None
    masks: np.ndarray | None = None
    iou: list[float] = field(default_factory=list)
    thing_scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    prompts: PromptTrace | None = None

    @property
    def regions(self) -> int:
        """How many boxes were asked about."""
        return 0 if self.found is None else len(self.found.boxes)

    def things(self) -> tuple[Instance, ...]:
        """The boxes in which SAM sees something."""
        if self.found is None or self.masks is None or self.vocabulary is None:
            return ()
        rows = zip(self.found.classes.tolist(), self.thing_scores.tolist(), self.masks, strict=True)
        return tuple(
            Instance(
                id=index + 1, class_index=number, class_name=self.vocabulary.names[number], box_xyxy=box_of(mask),
                area=int(mask.sum()), score=score, mask=Rle.encode(mask),
            )
            for index, (number, score, mask) in enumerate(rows) if mask.any()
        )  # fmt: skip


class GroundedReference:
    """A recipe's models in PyTorch."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.kind = KINDS[row_of(networks.recipe).kind]

    @torch.no_grad()
    def segment(
        self, photo: Any, vocabulary: Vocabulary, *, parameters: Mapping[str, Any] | None = None
    ) -> GroundedTrace:
        """Find the things that words name, and label every pixel.

        Args:
            photo: a path, or [H, W, 3] uint8 RGB.
            vocabulary: the classes.
            parameters: overrides of the recipe's.
        """
        settings: GroundedParameters = self.networks.recipe.override(parameters)
        trace = GroundedTrace(photo=as_photo(photo, settings.max_pixels), settings=settings)
        self.decide(trace, vocabulary)
        return trace

    @torch.no_grad()
    def decide(self, trace: GroundedTrace, vocabulary: Vocabulary) -> None:
        """Detect, ask SAM, paint."""
        trace.vocabulary = vocabulary
        with trace.time("boxes"):
            found = self.kind.detect(self.networks, trace, vocabulary)
            trace.found = surest(found, trace.photo.shape[:2], trace.settings)
        with trace.time(PROMPT_DECODER):
            trace.masks, trace.iou = self._masks(trace)
        scores = trace.found.scores.numpy().astype(np.float64)
        if trace.settings.score_by_sam:
            scores = scores * np.clip(trace.iou, 0, 1)
        trace.thing_scores = scores
        _drop_overlaid(trace)
        trace.mask = np.zeros(trace.photo.shape[:2], np.int64)
        trace.scores = np.zeros(trace.photo.shape[:2], np.float32)
        for index in np.argsort(-scores, kind="stable")[::-1]:
            trace.mask[trace.masks[index]] = int(trace.found.classes[index])
            trace.scores[trace.masks[index]] = scores[index]
        trace.coarse = trace.mask

    def _masks(self, trace: GroundedTrace) -> tuple[np.ndarray, list[float]]:
        """Of each box the best of three masks, one box at a time."""
        predictor = predictor_of(self.networks.models["sam"])
        predictor.set_image(trace.photo)
        masks, estimates = np.zeros((trace.regions, *trace.photo.shape[:2]), bool), []
        for index, box in enumerate(trace.found.boxes.double().numpy() if trace.found else ()):
            three, iou, _ = predictor.predict(box=box, multimask_output=True)
            masks[index] = three[int(np.argmax(iou))]
            estimates.append(float(np.max(iou)))
        return masks, estimates


def _drop_overlaid(trace: GroundedTrace) -> None:
    """Empty the masks that lie over a surer thing's, pair by pair."""
    assert trace.masks is not None and trace.found is not None
    settings, classes, kept = trace.settings, trace.found.classes.tolist(), list[int]()
    for index in np.argsort(-trace.thing_scores, kind="stable"):
        for other in kept if settings.mask_nms_threshold < 1 else ():
            shared = (trace.masks[index] & trace.masks[other]).sum()
            union = (trace.masks[index] | trace.masks[other]).sum()
            rivals = settings.nms_across_classes or classes[index] == classes[other]
            if rivals and shared > settings.mask_nms_threshold * union:
                trace.masks[index] = False
        kept += [index] if trace.masks[index].any() else []


def surest(found: Found, photo_hw: tuple[int, ...], settings: GroundedParameters) -> Found:
    """The boxes that are asked about."""
    x0, y0, x1, y1 = found.boxes.unbind(1)
    inside = (x1 > x0) & (y1 > y0) & (x1 > 0) & (y1 > 0) & (x0 < photo_hw[1]) & (y0 < photo_hw[0])
    boxes, classes, scores = (values[inside] for values in found)
    rivals = torch.zeros_like(classes) if settings.nms_across_classes else classes
    kept = batched_nms(boxes, scores, rivals, settings.nms_threshold)[: settings.max_boxes]
    return Found(boxes[kept], classes[kept], scores[kept])


@torch.no_grad()
def trace_photo(networks: Networks, photo: Any, bundle: Bundle | None = None) -> GroundedTrace:
    """Run the reference on a photo (a path, or [H, W, 3] uint8 RGB), and record all stages.

    Args:
        networks: the reference.
        photo: a path, or [H, W, 3] uint8 RGB.
        bundle: whose tokenizer is checked; None: a fresh one.
    """
    reference = GroundedReference(networks)
    settings = networks.recipe.parameters
    trace = GroundedTrace(photo=as_photo(photo, settings.max_pixels), settings=settings)
    reference.decide(trace, reference.kind.vocabulary(networks, trace))
    trace.prompts = record_prompts(networks, trace)
    image, _ = engine_input(networks.models["sam"], trace.photo)
    features = networks.modules[ENCODER](image)
    trace.stages[ENCODER] = {"image": image}, dict(zip(networks.contract(ENCODER).output_names, features, strict=True))
    reference.kind.text(networks, trace, bundle)
    return trace
