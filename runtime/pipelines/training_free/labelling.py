"""The second half of the pipeline: what the engines made of a photo becomes a labelled mask.

Apart from the first half, since it can be done again with other thresholds without encoding the photo again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ...answers.result import Result
from ...backends.base import Session
from ...labelling.coarse import coarse_mask
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...words.vocabulary import Vocabulary
from ..promptable.refining import Labelled, ask_about_regions, finish
from .encoding import Encoded
from .plan import Plan


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
    return ask_about_regions(coarse, encoded.sam_features, plan.sam, decoder, parameters, clock, turn)


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
    return finish(labelled, photo, plan.sam, vocabulary, parameters, clock)
