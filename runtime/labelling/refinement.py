"""The second half of the pipeline: the coarse mask is split into regions, and SAM's decoder refines them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ..backends.base import Session
from ..geometry.limits import ARRAY, REGIONS, refuse_more
from ..geometry.sam_frame import SamFrame
from ..recipe.parameters import RefinementParameters
from ..reporting import Clock
from ..stage.arrays import Array
from .coarse import Coarse
from .merge import Refined, merge
from .region_prompts import make_prompts
from .regions import Regions, find_regions


class Prompted(NamedTuple):
    """Regions, and what SAM's decoder made of them."""

    regions: Regions
    low_res: np.ndarray
    """[R, 1, m, m] float32 mask logits."""
    iou: np.ndarray
    """[R] float32, SAM's estimate for every region."""


def prompt_regions(
    coarse: Coarse,
    features: Mapping[str, Array],
    frame: SamFrame,
    decoder: Session,
    parameters: RefinementParameters,
    clock: Clock,
    turn: AbstractContextManager[Any],
) -> Prompted:
    """Find the regions of the coarse mask, and prompt SAM's decoder with all of them, of all classes together.

    Args:
        coarse: the coarse result, with that at half resolution.
        features: the photo's, as the decoder takes them.
        frame: how the photo lies in SAM's input.
        decoder: the engine of SAM's decoder for regions.
        parameters: the parameters in force.
        clock: gets the time of every step.
        turn: held while the decoder runs.

    Raises:
        EngineError: the decoder failed.
        PhotoError: there are too many regions; says what to change.
    """
    mask_side = frame.mask_rows.shape[1]
    with clock("regions"):
        assert coarse.half is not None, "asked for with refinement"
        regions = find_regions(
            coarse.half, parameters.region_threshold, parameters.min_area, split=parameters.split_regions
        )
    fewer = "Choose a larger min_area or region_threshold, or refine=false."
    refuse_more(len(regions), REGIONS, "the regions to refine", fewer)
    refuse_more(4 * len(regions) * mask_side**2, ARRAY, f"SAM's masks of {len(regions):,} regions", fewer)
    if not len(regions):
        return Prompted(regions, np.zeros((0, 1, mask_side, mask_side), np.float32), np.zeros(0, np.float32))
    with clock("prompts"):
        hw = (coarse.labels.shape[0], coarse.labels.shape[1])
        prompts = make_prompts(regions, coarse.planes.half, hw, frame, mask_side, parameters)
    with turn, clock(decoder.contract.stage):
        outputs = [
            decoder.run({**features, **feeds})
            for feeds in prompts.batches(parameters.prompt_batch, decoder.contract.input_names)
        ]
        low_res, iou = (np.concatenate([output[name] for output in outputs]) for name in ("low_res_logits", "iou"))
    return Prompted(regions, low_res, iou)


def merge_prompted(
    coarse: Coarse, prompted: Prompted, frame: SamFrame, parameters: RefinementParameters, clock: Clock
) -> Refined:
    """Merge what the decoder made of the regions into the coarse result (S2CLIP, Algorithm 4)."""
    with clock("merge"):
        return merge(
            coarse,
            prompted.regions,
            prompted.low_res,
            prompted.iou,
            frame,
            iou_threshold=parameters.iou_threshold,
            as_published=parameters.as_published,
        )
