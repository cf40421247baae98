"""Refinement of a coarse mask by a promptable model: what pipelines share that have words and SAM."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from ...answers.region import photo_regions
from ...answers.result import Result
from ...backends.base import Session
from ...errors import ParameterError
from ...geometry.sam_frame import SamFrame
from ...labelling.coarse import Coarse
from ...labelling.refinement import Prompted, merge_prompted, prompt_regions
from ...recipe.parameters import RefinementParameters
from ...recipe.recipe import Recipe
from ...reporting import Clock
from ...stage.arrays import Array
from ...words.vocabulary import Vocabulary
from .stages import DECODER, ENCODER, features_in


class Labelled(NamedTuple):
    """A photo behind the last engine."""

    coarse: Coarse
    prompted: Prompted | None
    """None without refinement."""


def has_sam(recipe: Recipe) -> bool:
    """Whether a recipe has a promptable model."""
    return "sam" in recipe.models


def refuse_without_sam(parameters: RefinementParameters, engines: Mapping[str, Session], recipe: Recipe) -> None:
    """Refuse refinement where there is nothing to refine with.

    Raises:
        ParameterError: says what to add to the recipe.
    """
    if parameters.refine and not {ENCODER, DECODER} <= set(engines):
        raise ParameterError(
            f"refine=True needs SAM, and this bundle of {recipe.name!r} has none. "
            f"Add a [sam] table with a model to the recipe and run export-engines again."
        )


def kept(made: Mapping[str, Array], encoder: Session) -> dict[str, Array]:
    """The features among what SAM's encoder made, as its decoder takes them, where no later photo is written."""
    return {name: encoder.keep(array) for name, array in features_in(made).items()}


def ask_about_regions(
    coarse: Coarse,
    features: Mapping[str, Array] | None,
    frame: SamFrame | None,
    decoder: Session | None,
    parameters: RefinementParameters,
    clock: Clock,
    turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (holds nothing)
) -> Labelled:
    """Ask SAM's decoder about the regions of the coarse mask where the parameters say so.

    Args:
        coarse: the coarse result; if it is to be refined, with that at half resolution.
        features: SAM's, as its decoder takes them; this and the next two may be None where nothing is refined.
        frame: how the photo lies in SAM's input.
        decoder: the `sam_decoder` engine.
        parameters: the parameters in force.
        clock: gets the time of every step.
        turn: held while the decoder runs.

    Raises:
        EngineError: the decoder failed or returned NaN.
        PhotoError: there are too many regions.
    """
    if not parameters.refine:
        return Labelled(coarse, None)
    assert frame is not None and features is not None and decoder is not None, "checked by the caller"
    return Labelled(coarse, prompt_regions(coarse, features, frame, decoder, parameters, clock, turn))


def finish(
    labelled: Labelled,
    photo: np.ndarray,
    frame: SamFrame | None,
    vocabulary: Vocabulary,
    parameters: RefinementParameters,
    clock: Clock,
) -> Result:
    """Merge what the decoder answered; needs no engine.

    Args:
        labelled: from `ask_about_regions`.
        photo: [H, W, 3] uint8 RGB, for the result.
        frame: how the photo lies in SAM's input; None where nothing is refined.
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
    assert frame is not None, "checked with the parameters"
    labels, scores = merge_prompted(coarse, prompted, frame, parameters, clock)
    np.copyto(scores, coarse.scores, where=scores == 0)  # there the coarse label stays, and so does its probability
    photo_hw = (photo.shape[0], photo.shape[1])
    regions = photo_regions(prompted.regions, prompted.iou, parameters.iou_threshold, names, photo_hw)
    told = clock.timings()
    return Result(labels, coarse.labels, scores, names, regions, told, photo, background=vocabulary.background)
