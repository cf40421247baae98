"""Refinement in the reference, which pipelines share that have words and SAM; and how it is proved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from ....runtime.answers.result import Result
from ....runtime.geometry.sizes import HW, half_size
from ....runtime.pipelines.promptable.stages import DECODER
from ..checks import Check, Limits, agreement, labels_check
from ..trace import Trace, run_stage
from .predictor import prompts_hw, to_photo
from .refine import Prompted, find_regions, merge_masks, prompts_for

if TYPE_CHECKING:
    from ..networks import Networks


@dataclass(kw_only=True)
class RefinedTrace(Trace):
    """The trace of a photo that may be refined.

    Attributes:
        sam_maps: SAM's features of the whole photo, as its decoder takes them; None without refinement.
        probabilities: [C, H, W] before refinement.
        prompted: regions, prompts and what SAM's decoder made of them; None without refinement or regions.
    """

    sam_maps: dict[str, torch.Tensor] | None = None
    probabilities: torch.Tensor | None = None
    prompted: Prompted | None = None

    @property
    def regions(self) -> int:
        """How many regions were prompted."""
        return len(self.prompted.regions) if self.prompted else 0


def refine(networks: Networks, trace: RefinedTrace, padded_hw: HW) -> None:
    """Split the coarse mask into regions, prompt SAM's decoder with each, and merge.

    Args:
        networks: the reference.
        trace: has the coarse mask, probabilities and SAM's features; gets the refined mask.
        padded_hw: the photo's size with the sides rounded up as SAM saw it.
    """
    assert trace.coarse is not None and trace.probabilities is not None
    settings, hw = trace.settings, (trace.photo.shape[0], trace.photo.shape[1])
    trace.prompted = None
    half_hw = half_size(hw)
    labels = F.interpolate(torch.from_numpy(trace.coarse)[None, None].double(), half_hw, mode="nearest")[0, 0]
    halves = F.interpolate(trace.probabilities[None], half_hw, mode="bilinear", align_corners=False)[0]
    regions = find_regions(labels.long().numpy(), halves.numpy(), settings)
    if not regions:
        return
    side, sam = networks.dimensions.frame_side, networks.models["sam"]
    points, boxes, masks = prompts_for(regions, halves, hw, prompts_hw(sam, padded_hw), side, settings)
    prompts = {"point": ("points", points), "box": ("boxes", boxes), "mask": ("mask_prompts", masks)}
    chosen = dict(named for kind, named in prompts.items() if kind in settings.prompts)
    low_res, iou = _ask(networks, trace, chosen)
    trace.prompted = Prompted(regions, low_res, iou)
    with trace.time("merge"):
        seen = to_photo(sam, low_res, padded_hw)
        trace.mask, trace.scores = merge_masks(trace.coarse, trace.probabilities, trace.prompted, seen, settings)


def _ask(
    networks: Networks, trace: RefinedTrace, prompts: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-resolution logits [R, 1, m, m] and estimates [R]; all batches are recorded as one."""
    assert trace.sam_maps is not None, "made where the photo is refined"
    features, *finer = trace.sam_maps.items()
    batches = zip(*(tensor.split(trace.settings.prompt_batch) for tensor in prompts.values()), strict=True)
    parts = [
        run_stage(networks, DECODER, trace, **dict([features, *zip(prompts, batch, strict=True), *finer]))
        for batch in batches
    ]
    low_res, iou = (torch.cat([part[name] for part in parts]) for name in ("low_res_logits", "iou"))
    trace.stages[DECODER] = (
        dict([features, *prompts.items(), *finer]),
        {"low_res_logits": low_res, "iou": iou},
    )
    return low_res, iou


def threshold_amid(trace: RefinedTrace) -> dict[str, float]:
    """An IoU threshold in the widest gap between the middle estimates; none without two regions."""
    if trace.prompted is None or len(trace.prompted.iou) < 2:
        return {}
    estimates = np.sort(trace.prompted.iou.numpy())
    gaps = np.diff(estimates)
    low = len(gaps) // 4
    middle = low + int(gaps[low : len(gaps) - low].argmax())
    return {"iou_threshold": float(estimates[middle : middle + 2].mean())}


def compare_masks(trace: Any, result: Result, limits: Limits) -> Iterator[Check]:
    """The coarse mask; and regions and the refined mask, where the reference has refined."""
    assert trace.coarse is not None and trace.mask is not None, "the trace was decided"
    yield agreement("coarse mask", result.coarse_mask, trace.coarse, limits)
    if trace.prompted is None:
        return
    came, expected = len(result.regions), len(trace.prompted.regions)
    if limits.exact:
        yield Check("pipeline", "regions", {"came": came, "expected": expected}, "as many", came == expected)
    refined = sum(region.refined for region in result.regions)
    yield labels_check(result, trace, limits, f"refined mask ({refined} of {came} regions refined)")
