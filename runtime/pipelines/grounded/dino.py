"""Grounding DINO on engines: a photo and the features of phrases go into the detector together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...backends.base import Session
from ...errors import VocabularyError, shown
from ...geometry.sizes import HW
from ...reporting import Clock
from ...stage.arrays import to_host
from ...stage.contract import TensorSpec
from ...words.phrases import NOBODY, passes, text_inputs
from ...words.vocabulary import Vocabulary
from ...words.wordpiece import PhraseTokenizer
from ..text_embedder import TextEmbedder
from .detecting import Detections
from .parameters import GroundedParameters
from .stages import GROUND_DETECTOR

SHORTER, LONGER = 800, 1333
"""Sides of the photo that the authors' model sees, at most. A smaller model sees as much of its own side."""

OF_PHOTO = ("image", "extent")
"""The detector's inputs that are the photo's."""

LEAST = 4
"""Tokens of a phrase: one of a word, and three around it."""


class PhraseEmbedder(TextEmbedder):
    """Embeds a name as the features of its phrase's tokens, one after the other; zeros follow.

    They are the same whatever else is in the text, since tokens see those of their own phrase alone. So the cache and
    a vocabulary's file hold all that the detector takes of words.
    """

    tokenizer = PhraseTokenizer

    def check(self, words: Sequence[str]) -> None:
        """See `TextEmbedder.check`: names with the same tokens would be one class."""
        tokenizer, seen = self._tokenizer(), dict[tuple[int, ...], str]()
        for word in words:
            if (other := seen.setdefault(tuple(tokenizer.encode(word)), word)) is not word:
                raise VocabularyError(same(other, word))

    def _compute(self, name: str, templates: Sequence[str]) -> np.ndarray:
        """[T · D] float32, T being the tokens that a phrase may have.

        Raises:
            VocabularyError: there is more than one template, or as `PhraseTokenizer`.
        """
        if len(templates) != 1:
            raise VocabularyError(f"this detector reads a name once; expected one template, got {len(templates)}")
        tokenizer = self._tokenizer()
        tokens = tokenizer(templates[0].replace("{}", name))
        count = tokens.shape[1]
        told = text_inputs([count - 2])
        feeds = {"tokens": tokens, "position_ids": told.position_ids, "attends": told.attends}
        features = self._session().run(feeds)["text_features"][0]
        embedding: np.ndarray = np.pad(features, ((0, tokenizer.most - count), (0, 0))).ravel()
        return embedding


class Text(NamedTuple):
    """Phrases that the detector reads together."""

    feeds: Mapping[str, np.ndarray]
    """The detector's inputs that are words'."""
    columns: np.ndarray
    """Tokens that are words of names, in order."""
    starts: np.ndarray
    """Where each name's begin among these."""
    classes: np.ndarray
    """The class of each name."""


class DinoDetector:
    """See `Detector`. Names go through as many at a time as the detector reads, and each time costs a run."""

    def __init__(self, session: Session, image_hw: HW, tokens: int) -> None:
        """A detector over an open session.

        Args:
            session: the engine of the stage `ground_detector`.
            image_hw: the image that it sees, in pixels.
            tokens: of a phrase, at most.
        """
        self._session, self._image_hw, self._tokens = session, image_hw, tokens

    @property
    def kept(self) -> Mapping[str, TensorSpec]:
        """See `Detector.kept`: those of the engine's inputs that are the photo's."""
        return {name: self._session.contract.input(name) for name in OF_PHOTO}

    def seen(self, photo: np.ndarray, settings: GroundedParameters, clock: Clock) -> Mapping[str, np.ndarray]:
        """See `Detector.seen`: the image, and the photo's size in it."""
        with clock("detector_image"):
            return framed(photo, self._image_hw)

    def words(self, vocabulary: Vocabulary) -> list[Text]:
        """See `Detector.words`."""
        return texts_of(vocabulary, self._tokens)

    def found(
        self,
        seen: Mapping[str, np.ndarray],
        words: Sequence[Text],
        photo_hw: HW,
        clock: Clock,
    ) -> Detections:
        """See `Detector.found`. An object that two texts speak of is found twice, as a class of each."""
        none = np.zeros(0, np.float32)
        found = [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.intp), none, none)]
        for text in words:
            with clock(GROUND_DETECTOR):
                outputs = self._session.run({**seen, **text.feeds})
                logits, boxes = to_host(outputs["logits"])[0], to_host(outputs["boxes"])[0]
            with clock("boxes"):
                found.append(detections(logits, boxes, text, photo_hw))
        return Detections(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def framed(photo: np.ndarray, image_hw: HW) -> dict[str, np.ndarray]:
    """The photo in the detector's image: the shorter side to 800 unless the longer would be above 1333, top left.

    As transformers' processor for Pillow does it: antialiased, bilinear, on 8 bits.

    Args:
        photo: [H, W, 3] uint8 RGB.
        image_hw: of the image.

    Returns:
        `image` [1, 3, H, W] float32 RGB in [0, 255]; `extent` [2] int32, the photo's height and width there.
    """
    height, width = seen_size((photo.shape[0], photo.shape[1]), min(LONGER, *image_hw))
    image = np.zeros((1, 3, *image_hw), np.float32)
    resized = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    image[0, :, :height, :width] = np.asarray(resized).transpose(2, 0, 1)
    return {"image": image, "extent": np.array([height, width], np.int32)}


def seen_size(photo_hw: HW, longer: int) -> HW:
    """The photo's size in the image: `get_size_with_aspect_ratio` of transformers, at least 1 on each side.

    There a photo whose shorter side is right after rounding stays as it is, even if the longer is above the most; here
    it is made smaller.

    Args:
        photo_hw: the photo's own.
        longer: the most of the longer side.
    """
    shorter, (least, most) = float(round(longer * SHORTER / LONGER)), sorted(photo_hw)
    if most / least * shorter > longer:
        shorter = longer * least / most
    side = max(1, round(shorter))
    if side == least and most <= longer:
        return photo_hw
    if photo_hw[0] == photo_hw[1]:
        return side, side
    other = max(1, int(shorter * most / least))
    return (side, other) if photo_hw[0] < photo_hw[1] else (other, side)


def texts_of(vocabulary: Vocabulary, tokens: int) -> list[Text]:
    """The texts that the detector reads of a vocabulary; none of a background.

    Args:
        vocabulary: of embeddings that `PhraseEmbedder` made.
        tokens: of a phrase, at most.

    Raises:
        VocabularyError: its embeddings are others, or two names are the same to the detector.
    """
    rows = vocabulary.embeddings.reshape(len(vocabulary.embeddings), tokens, -1)
    counts = (rows != 0).any(-1).sum(1)
    if (counts < LEAST).any() or (rows[np.arange(tokens) >= counts[:, None]] != 0).any():
        raise VocabularyError("the vocabulary's embeddings are no phrases of this detector; make it with this bundle")
    names = [word for words in vocabulary.synonyms for word in words]
    _refuse_same(names, rows)
    classes = np.repeat(np.arange(len(vocabulary)), [len(words) for words in vocabulary.synonyms])
    asked = np.flatnonzero(classes > 0) if vocabulary.background else np.arange(len(classes))
    if not len(asked):
        return []
    parts = passes([int(counts[index]) - 2 for index in asked])
    return [_text([rows[index, : counts[index]] for index in asked[part]], classes[asked[part]]) for part in parts]


def _refuse_same(names: Sequence[str], rows: np.ndarray) -> None:
    """Names with the same tokens: of two such classes the second would never have a box.

    Raises:
        VocabularyError: with both.
    """
    seen: dict[bytes, str] = {}
    for name, row in zip(names, rows, strict=True):
        if (other := seen.setdefault(row.tobytes(), name)) is not name:
            raise VocabularyError(same(other, name))


def same(one: str, other: str) -> str:
    """What is said of two names that are the same to the detector: of two such classes one would never have a box."""
    return f"{shown(one)} and {shown(other)} are the same to the detector; name all once"


def _text(phrases: Sequence[np.ndarray], classes: np.ndarray) -> Text:
    """Phrases with `[CLS]` and `[SEP]` around each, put between one of each."""
    told = text_inputs([len(phrase) - 2 for phrase in phrases])
    features = np.concatenate([phrases[0][:1], *(phrase[1:-1] for phrase in phrases), phrases[0][-1:]])
    columns = np.flatnonzero(told.owners != NOBODY)
    owners = told.owners[columns]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    feeds = {"text_features": features[None], "position_ids": told.position_ids, "attends": told.attends}
    return Text(feeds, columns, starts, classes)


def detections(logits: np.ndarray, boxes: np.ndarray, text: Text, photo_hw: HW) -> Detections:
    """All boxes, as transformers' `post_process_grounded_object_detection` scores them.

    There a box's label is all tokens above `text_threshold`, joined. Here it is the class of the surest of them that is
    a word of a name, which has a score of its own: the box's may be that of a full stop.

    Args:
        logits: [Q, L] before the sigmoid.
        boxes: [Q, 4] cx cy w h, shares of the photo.
        text: what was read.
        photo_hw: the photo's size.
    """
    with np.errstate(over="ignore"):
        shares = 1 / (1 + np.exp(-logits))
    scores = shares.max(1)
    words = np.maximum.reduceat(shares[:, text.columns], text.starts, axis=1)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    size = np.array([photo_hw[1], photo_hw[0]] * 2, np.float32)
    return Detections(corners * size, text.classes[words.argmax(1)], scores, words.max(1))
