"""The second half of the pipeline: what the engines made of a photo becomes a labelled mask.

Apart from the first half, since it can be done again with other thresholds without encoding the photo again.
"""

from __future__ import annotations

import numpy as np

from .clock import Clock
from .coarse import coarse_mask
from .encoding import Encoded
from .parameters import Parameters
from .plan import Plan
from .refinement import refine
from .result import Result, photo_regions
from .sessions import Session
from .vocabulary import Vocabulary


def label_photo(
    encoded: Encoded,
    photo: np.ndarray,
    plan: Plan,
    vocabulary: Vocabulary,
    decoder: Session | None,
    parameters: Parameters,
    clock: Clock,
) -> Result:
    """Make the coarse mask, and refine it where the parameters say so.

    Args:
        encoded: from `encode_photo`, with this vocabulary and plan; with SAM's features if it is to be refined.
        photo: [H, W, 3] uint8 RGB, for the result.
        plan: the plan for the photo's size.
        vocabulary: the classes.
        decoder: the `sam_decoder` engine; None where nothing is refined.
        parameters: the parameters in force.
        clock: gets the time of every step.

    Raises:
        EngineError: the decoder failed or returned NaN, or the scaled logits are not finite.
    """
    with clock("coarse"):
        coarse = coarse_mask(
            encoded.logits,
            plan.photo,
            vocabulary.query_starts,
            logit_scale=parameters.logit_scale,
            probability_threshold=parameters.probability_threshold,
            halve=parameters.refine,
        )
    if not parameters.refine:
        return Result(coarse.labels, coarse.labels, coarse.scores, vocabulary.names, (), clock.timings(), photo)
    assert plan.sam is not None and encoded.sam_features is not None and decoder is not None, "checked by the caller"
    refinement = refine(coarse, encoded.sam_features, plan.sam, decoder, parameters, clock)
    regions = photo_regions(
        refinement.regions, refinement.iou, parameters.iou_threshold, vocabulary.names, plan.photo_hw
    )
    labels, scores = refinement.refined
    return Result(labels, coarse.labels, scores, vocabulary.names, regions, clock.timings(), photo)
