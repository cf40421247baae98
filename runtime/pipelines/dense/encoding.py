"""The engines' part of a photo: its crops become features, and features and words become logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...backends.base import Session
from ...geometry.limits import ARRAY, refuse_more
from ...geometry.sam_frame import SamFrame, sam_frame
from ...reporting import Clock
from ...stage.arrays import Array, to_host
from ...words.vocabulary import Vocabulary
from ..promptable.refining import kept
from ..promptable.sam_encoder import encode_sam
from ..promptable.stages import ENCODER, WHOLE
from .crops import crop_count, cut_crops
from .merging import Answered
from .parameters import DenseParameters
from .sizes import DenseDimensions
from .stages import FEATURES, TOWER

Features = Mapping[str, Array]
"""By the names in `FEATURES`, a row for each crop; and SAM's of the whole photo, as its decoder takes them, or none."""


class Asked(NamedTuple):
    """A photo behind the engines, but for SAM's decoder."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    features: Features
    crops: Sequence[Answered]


def encode_crops(
    photo: np.ndarray, tower: Session, dimensions: DenseDimensions, parameters: DenseParameters, clock: Clock
) -> dict[str, Array]:
    """The features of a photo's crops, which know nothing of words. On a GPU they stay there.

    Args:
        photo: [H, W, 3] uint8 RGB.
        tower: the `clip_dense` engine.
        dimensions: sizes that the engines fix.
        parameters: the parameters in force.
        clock: gets the time of every step.

    Raises:
        EngineError: the engine failed, or what it returned does not fit.
    """
    refuse_more(
        12 * crop_count(parameters) * dimensions.crop_side**2, ARRAY, "a photo's crops", "Take a larger stride."
    )
    with clock("crops"):
        crops = cut_crops(photo, parameters, dimensions.crop_side)
    with clock(TOWER):
        inputs = tower.put("crops", crops)
        features = {name: tower.empty(name, B=len(crops)) for name in FEATURES}
        for start in range(0, len(crops), parameters.crop_batch):
            part = slice(start, min(start + parameters.crop_batch, len(crops)))
            tower.run({"crops": inputs[part]}, {name: array[part] for name, array in features.items()})
    return features


def frame_of(photo: np.ndarray, dimensions: DenseDimensions) -> SamFrame:
    """How a photo, [H, W, 3], lies in SAM's input: as SamPredictor puts it."""
    return sam_frame((photo.shape[0], photo.shape[1]), dimensions, 1)


def with_sam(
    features: Features,
    photo: np.ndarray,
    engines: Mapping[str, Session],
    dimensions: DenseDimensions,
    parameters: DenseParameters,
    clock: Clock,
) -> Features:
    """The features with SAM's beside them, if the photo is to be refined and they are not there yet.

    Args:
        features: of `encode_crops`.
        photo: [H, W, 3] uint8 RGB.
        engines: by stage.
        dimensions: sizes that the engines fix.
        parameters: the parameters in force.
        clock: gets the time of every step.

    Raises:
        EngineError: the engine failed, or what it returned does not fit.
    """
    if not parameters.refine or WHOLE & set(features):
        return features
    encoder = engines[ENCODER]
    made = encode_sam(photo, frame_of(photo, dimensions), encoder, dimensions, parameters, clock)
    return {**features, **kept(made, encoder)}


def ask_crops(features: Features, text: np.ndarray, head: Session, most: int, clock: Clock) -> list[Answered]:
    """The logits of words on each crop.

    Args:
        features: of `encode_crops`.
        text: [T, C] float32, the words' embeddings.
        head: the engine of the model's head.
        most: words that it answers at once.
        clock: gets the time of every step.

    Raises:
        EngineError: the engine failed, or what it returned does not fit.
    """
    answered = []
    for number in range(len(features["dense"])):
        crop = {name: features[name][number : number + 1] for name in FEATURES}
        words = np.arange(len(text)) if len(text) <= most else likest(to_host(crop["dense"])[0], text, most)
        with clock(head.contract.stage):
            answered.append(Answered(words, head.run({**crop, "text": text[words]})["logits"]))
    return answered


def likest(dense: np.ndarray, text: np.ndarray, most: int) -> np.ndarray:
    """The words whose cosine with some place of a crop is highest: CAT-Seg's choice among more than it can answer.

    Args:
        dense: [C, h, w] float32.
        text: [T, C] float32.
        most: how many.

    Returns:
        [most] int, ascending; of equals the first.
    """
    places = dense.reshape(len(dense), -1)
    peaks = (_unit(text, 1) @ _unit(places, 0)).max(axis=1)
    return np.sort(np.argsort(-peaks, kind="stable")[:most])


def _unit(vectors: np.ndarray, axis: int) -> np.ndarray:
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=axis, keepdims=True), 1e-12)
    return scaled


def rows_asked(vocabulary: Vocabulary, parameters: DenseParameters) -> tuple[np.ndarray, Sequence[int]]:
    """The embeddings that are asked about, [T, C] float32, and the class of each."""
    if parameters.first_synonym:
        return vocabulary.embeddings[vocabulary.query_starts], range(len(vocabulary))
    counts = [len(words) for words in vocabulary.synonyms]
    return vocabulary.embeddings, np.repeat(np.arange(len(counts)), counts).tolist()
