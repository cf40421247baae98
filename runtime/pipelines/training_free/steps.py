"""The steps of one photo, from its file to the labelled mask: at once, or encoded first and asked about later."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...answers.result import Result
from ...bundle.bundle import Manifest
from ...errors import PhotoError
from ...labelling.remembering import RememberingDecoder
from ...photo.reading import Photo, as_photo
from ...recipe.parameters import Parameters
from ...reporting import Clock
from ...stage.arrays import Array
from ...words.vocabulary import Vocabulary
from ..engines import Engines
from ..promptable.refining import finish, kept
from ..promptable.sam_encoder import encode_sam
from ..promptable.stages import DECODER, WHOLE
from ..worded.segmenter import Turns
from .encoded_photo import Made, TrainingFreeEncodedPhoto
from .encoding import (
    Encoded,
    Sessions,
    encode_all_windows,
    encode_photo,
    parts_of,
    photo_logits,
    refuse_logits,
    seen_by_sam,
)
from .labelling import label_coarsely
from .methods import method_of
from .plan import Plan, plan_photo
from .stages import CLIP, HEAD, SAM


def segment_photo(
    photo: Photo,
    vocabulary: Vocabulary,
    manifest: Manifest,
    sessions: Sessions,
    parameters: Parameters,
    turns: Turns,
) -> Result:
    """Name every pixel of a photo.

    Args:
        photo: as `load_photo` takes it.
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
    method, dimensions = method_of(manifest.recipe), manifest.dimensions
    with clock("plan"):
        plan = plan_of(image, manifest, parameters)
    with turns.photo:
        with turns.engines:
            encoded = encode_photo(image, vocabulary.embeddings, plan, sessions, method, dimensions, parameters, clock)
        decoder = sessions[DECODER] if parameters.refine else None
        labelled = label_coarsely(encoded, plan, vocabulary, decoder, parameters, clock, turns.engines)
    return finish(labelled, image, plan.sam, vocabulary, parameters, clock)


def plan_of(photo: np.ndarray, manifest: Manifest, parameters: Parameters) -> Plan:
    """The plan of a photo, [H, W, 3], by a bundle's method; errors are those of `plan_photo`."""
    hw = (photo.shape[0], photo.shape[1])
    return plan_photo(hw, parameters, method_of(manifest.recipe), manifest.dimensions)


def encode_once(photo: np.ndarray, manifest: Manifest, sessions: Engines, parameters: Parameters, clock: Clock) -> Made:
    """Run the encoders on a photo, and keep what they made where they made it.

    Args:
        photo: [H, W, 3] uint8 RGB.
        manifest: describes the engines.
        sessions: the engines by stage.
        parameters: the parameters in force.
        clock: gets the time of every step.

    Raises:
        PhotoError: the photo would have too many windows.
        EngineError: an engine failed or returned NaN.
    """
    method, dimensions = method_of(manifest.recipe), manifest.dimensions
    plan = plan_of(photo, manifest, parameters)
    affinities: list[Array] = []
    features: dict[str, Array] = {}
    with sessions.turn, seen_by_sam(photo, plan, sessions, method, dimensions, parameters, clock) as seen:
        windows = sessions[CLIP].keep(encode_all_windows(photo, plan, sessions, method, parameters, clock))
        for _ in parts_of(plan, method):
            made = next(seen)
            affinities.append(sessions[SAM].keep(made["affinity"]))
            if plan.aggregated == (plan.sam,):
                features = kept(made, sessions[SAM])
        if (made_whole := next(seen, None)) is not None:
            features = kept(made_whole, sessions[SAM])
    return Made(windows, tuple(affinities), features)


def check_made(made: Made, photo: np.ndarray, manifest: Manifest, parameters: Parameters, path: str | Path) -> None:
    """Refuse what was read from a file and cannot have been made of its photo.

    Raises:
        PhotoError: there are more affinities than the photo has parts, or fewer, or other windows.
    """
    method = method_of(manifest.recipe)
    plan = plan_of(photo, manifest, parameters)
    parts = len(plan.aggregated) if method.affinity else 0
    if len(made.affinities) != parts or len(made.windows.shape) != 5 or made.windows.shape[:2] != plan.windows_grid:
        raise PhotoError(
            f"{path} is no encoded photo of EncodedPhoto.save: expected {plan.windows_grid} windows and {parts} "
            f"affinities, it holds windows {list(made.windows.shape)} and {len(made.affinities)} affinities"
        )


def whole_features(
    photo: np.ndarray, plan: Plan, sessions: Sessions, manifest: Manifest, parameters: Parameters, clock: Clock
) -> dict[str, Array]:
    """SAM's features of the whole photo; arguments and errors are those of `encode_once`."""
    assert plan.sam is not None, "checked when the parameters were"
    made = encode_sam(photo, plan.sam, sessions[SAM], manifest.dimensions, parameters, clock)
    return kept(made, sessions[SAM])


def segment_encoded(
    encoded: TrainingFreeEncodedPhoto,
    vocabulary: Vocabulary,
    manifest: Manifest,
    sessions: Engines,
    parameters: Parameters,
) -> Result:
    """Name every pixel of a photo that was encoded before.

    Args:
        encoded: by these engines.
        vocabulary: the classes, already checked.
        manifest: describes the engines.
        sessions: the engines by stage.
        parameters: the parameters in force, under which the photo would have been encoded as it was.

    Raises:
        PhotoError: the logits would be too large.
        EngineError: an engine failed or returned NaN.
    """
    clock, photo = Clock(), encoded.photo
    plan = plan_of(photo, manifest, parameters)
    refuse_logits(len(vocabulary.embeddings), plan)
    windows, affinities = encoded.made.windows, encoded.made.affinities
    with encoded.turn, sessions.turn:  # in this order always
        logits = photo_logits(windows, affinities, vocabulary.embeddings, plan, sessions[HEAD], clock)
        if parameters.refine:
            if not encoded.made.features:
                features = whole_features(photo, plan, sessions, manifest, parameters, clock)
                encoded.made = encoded.made._replace(features=features)
            if encoded.decoder is None:
                encoded.decoder = RememberingDecoder(sessions[DECODER], WHOLE)
        made = Encoded(logits, encoded.made.features)
        labelled = label_coarsely(made, plan, vocabulary, encoded.decoder, parameters, clock)
    return finish(labelled, photo, plan.sam, vocabulary, parameters, clock)
