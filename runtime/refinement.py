"""The second half of the pipeline: the coarse mask is split into regions, and SAM's decoder refines them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import Array
from .clock import Clock
from .coarse import Coarse
from .merge import Refined, merge
from .parameters import Parameters
from .plan import SamFrame
from .prompts import make_prompts
from .regions import Regions, find_regions
from .sessions import Session


class Refinement(NamedTuple):
    """What refinement made of the coarse result."""

    refined: Refined
    regions: Regions
    iou: np.ndarray
    """[R] float32, SAM's estimate for every region."""


def refine(
    coarse: Coarse, sam_features: Array, frame: SamFrame, decoder: Session, parameters: Parameters, clock: Clock
) -> Refinement:
    """Refine the coarse mask (S2CLIP, Algorithm 4): all regions of all classes go through the decoder together.

    Args:
        coarse: the coarse result.
        sam_features: [1, 256, 64, 64] float32 for SAM's usual sizes.
        frame: how the photo lies in SAM's input.
        decoder: the `sam_decoder` engine.
        parameters: the parameters in force.
        clock: gets the time of every step.
    """
    with clock("regions"):
        assert coarse.half is not None, "asked for with refinement"
        regions = find_regions(
            coarse.half, parameters.region_threshold, parameters.min_area, split=parameters.split_regions
        )
    if not len(regions):
        return Refinement(Refined(coarse.labels, coarse.scores), regions, np.zeros(0, np.float32))
    with clock("prompts"):
        hw = (coarse.labels.shape[0], coarse.labels.shape[1])
        mask_side = frame.mask_rows.shape[1]
        prompts = make_prompts(regions, coarse.planes.half, hw, frame, mask_side, parameters)
    with clock("sam_decoder"):
        outputs = [
            decoder.run({"sam_features": sam_features, **feeds})
            for feeds in prompts.batches(parameters.prompt_batch, decoder.contract.input_names)
        ]
        low_res = np.concatenate([output["low_res_logits"] for output in outputs])
        iou = np.concatenate([output["iou"] for output in outputs])
    with clock("merge"):
        refined = merge(
            coarse,
            regions,
            low_res,
            iou,
            frame,
            iou_threshold=parameters.iou_threshold,
            as_published=parameters.as_published,
        )
    return Refinement(refined, regions, iou)
