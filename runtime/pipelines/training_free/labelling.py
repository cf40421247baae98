"""The second half of the pipeline: what the engines made of a photo becomes a labelled mask.

Apart from the first half, since it can be done again with other thresholds without encoding the photo again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from ...answers.region import photo_regions
from ...answers.result import Result
from ...backends.base import Session
from ...labelling.coarse import Coarse, coarse_mask
from ...labelling.refinement import Prompted, merge_prompted, prompt_regions
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...words.vocabulary import Vocabulary
from .encoding import Encoded
from .plan import Plan


class Labelled(NamedTuple):
    """A photo behind the last engine."""

    coarse: Coarse
    prompted: Prompted | None
    """None without refinement."""


def label_coarsely(
    encoded: Encoded,
    plan: Plan,
    vocabulary: Vocabulary,
    decoder: Session | None,
    parameters: Parameters,
    clock: Clock,
    turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (holds nothing)
) -> Labelled:
    """Make the coarse mask, and ask SAM's decoder about its regions where the parameters say so.

    Args:
        encoded: from `encode_photo`, with this vocabulary and plan; with SAM's features if it is to be refined.
        plan: the plan for the photo's size.
        vocabulary: the classes.
        decoder: the `sam_decoder` engine; None where nothing is refined.
        parameters: the parameters in force.
        clock: gets the time of every step.
        turn: held while the decoder runs.

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
        return Labelled(coarse, None)
    assert plan.sam is not None and encoded.sam_features is not None and decoder is not None, "checked by the caller"
    return Labelled(coarse, prompt_regions(coarse, encoded.sam_features, plan.sam, decoder, parameters, clock, turn))


def finish(
    labelled: Labelled, photo: np.ndarray, plan: Plan, vocabulary: Vocabulary, parameters: Parameters, clock: Clock
) -> Result:
    """Merge what the decoder answered; needs no engine.

    Args:
        labelled: from `label_coarsely`.
        photo: [H, W, 3] uint8 RGB, for the result.
        plan: the plan for the photo's size.
        vocabulary: the classes.
        parameters: the parameters in force.
        clock: has the times of all steps so far.
    """
    coarse, prompted = labelled
    names = vocabulary.names
    if prompted is None:
        told = clock.timings()
        return Result(
            coarse.labels, coarse.labels, coarse.scores, names, (), told, photo, background=vocabulary.background
        )
    assert plan.sam is not None, "checked with the parameters"
    labels, scores = merge_prompted(coarse, prompted, plan.sam, parameters, clock)
    np.copyto(scores, coarse.scores, where=scores == 0)  # there the coarse label stays, and so does its probability
    regions = photo_regions(prompted.regions, prompted.iou, parameters.iou_threshold, names, plan.photo_hw)
    told = clock.timings()
    return Result(labels, coarse.labels, scores, names, regions, told, photo, background=vocabulary.background)


def label_photo(
    encoded: Encoded,
    photo: np.ndarray,
    plan: Plan,
    vocabulary: Vocabulary,
    decoder: Session | None,
    parameters: Parameters,
    clock: Clock,
) -> Result:
    """Both steps together; arguments and errors are theirs."""
    labelled = label_coarsely(encoded, plan, vocabulary, decoder, parameters, clock)
    return finish(labelled, photo, plan, vocabulary, parameters, clock)
