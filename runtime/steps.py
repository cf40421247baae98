"""The steps of one photo, from its file to the labelled mask."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .bundle import Manifest
from .clock import Clock
from .coarse import Coarse, coarse_mask
from .encoding import Sessions, encode_photo
from .parameters import Parameters
from .photo import as_photo
from .plan import Plan, plan_photo
from .refinement import Prompted, merge_prompted, prompt_regions
from .result import Result, photo_regions
from .vocabulary import Vocabulary


class Turns(NamedTuple):
    """What a photo holds, so that photos of several threads do not get in each other's way."""

    photo: AbstractContextManager[Any]
    """Held from the first engine to the last, also while none runs, for a GPU's buffers are used again."""
    engines: AbstractContextManager[Any]
    """Held while an engine runs, for memory and cores do not suffice for any number."""


def segment_photo(
    photo: str | Path | np.ndarray,
    vocabulary: Vocabulary,
    manifest: Manifest,
    sessions: Sessions,
    parameters: Parameters,
    turns: Turns,
) -> Result:
    """Name every pixel of a photo.

    Args:
        photo: a path, or [H, W, 3] uint8 RGB.
        vocabulary: the classes, already checked.
        manifest: describes the engines.
        sessions: the engines by stage.
        parameters: the parameters in force.
        turns: what is held while engines run.

    Raises:
        PhotoError: the photo cannot be read.
        ParameterError: the stride does not fit the window or the method.
        EngineError: an engine failed or returned NaN.
    """
    clock = Clock()
    with clock("decode"):
        image = as_photo(photo, parameters.max_pixels)
    hw = (image.shape[0], image.shape[1])
    with clock("plan"):
        plan = plan_photo(hw, parameters, manifest.recipe.row, manifest.dimensions)
    with turns.photo:
        coarse, prompted = _run_engines(image, vocabulary, plan, manifest, sessions, parameters, clock, turns)
    names = vocabulary.names
    if prompted is None:
        return Result(coarse.labels, coarse.labels, coarse.scores, names, (), clock.timings(), image)
    assert plan.sam is not None, "checked with the parameters"
    labels, scores = merge_prompted(coarse, prompted, plan.sam, parameters, clock)
    regions = photo_regions(prompted.regions, prompted.iou, parameters.iou_threshold, names, hw)
    return Result(labels, coarse.labels, scores, names, regions, clock.timings(), image)


def _run_engines(
    image: np.ndarray,
    vocabulary: Vocabulary,
    plan: Plan,
    manifest: Manifest,
    sessions: Sessions,
    parameters: Parameters,
    clock: Clock,
    turns: Turns,
) -> tuple[Coarse, Prompted | None]:
    """From the first engine to the last, and what lies between them; None without refinement."""
    method, dimensions = manifest.recipe.row, manifest.dimensions
    with turns.engines:
        encoded = encode_photo(image, vocabulary.embeddings, plan, sessions, method, dimensions, parameters, clock)
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
        return coarse, None
    assert plan.sam is not None and encoded.sam_features is not None, "checked with the parameters"
    decoder = sessions["sam_decoder"]
    return coarse, prompt_regions(coarse, encoded.sam_features, plan.sam, decoder, parameters, clock, turns.engines)
