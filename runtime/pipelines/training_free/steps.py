"""The steps of one photo, from its file to the labelled mask."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...answers.result import Result
from ...bundle.bundle import Manifest
from ...photo.reading import Taken, as_photo
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...words.vocabulary import Vocabulary
from .encoding import Sessions, encode_photo
from .labelling import finish, label_coarsely
from .methods import method_of
from .plan import plan_photo
from .stages import DECODER


class Turns(NamedTuple):
    """Locks that a photo holds, so that photos of several threads do not get in each other's way."""

    photo: AbstractContextManager[Any]
    """Held from the first engine to the last, also while none runs, for a GPU's buffers are used again."""
    engines: AbstractContextManager[Any]
    """Held while an engine runs, for memory and cores do not suffice for any number."""


def segment_photo(
    photo: str | Path | np.ndarray | Taken,
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
    method, dimensions = method_of(manifest.recipe), manifest.dimensions
    with clock("plan"):
        plan = plan_photo(hw, parameters, method, dimensions)
    with turns.photo:
        with turns.engines:
            encoded = encode_photo(image, vocabulary.embeddings, plan, sessions, method, dimensions, parameters, clock)
        decoder = sessions[DECODER] if parameters.refine else None
        labelled = label_coarsely(encoded, plan, vocabulary, decoder, parameters, clock, turns.engines)
    return finish(labelled, image, plan, vocabulary, parameters, clock)
