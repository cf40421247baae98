"""The vocabulary: class names, their synonyms, and their text embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..boundary.arguments import public
from ..boundary.reading import opened, read_arrays, why_no_file
from ..errors import ParameterError, VocabularyError, shown, warn
from ..files import atomic_path
from ..geometry.limits import CLASSES, Limit, refuse_more
from .tokenizer import pieces

BACKGROUND = "background"
SEPARATOR = ";"

LONGEST = 1000
"""Characters of a name. CLIP reads 77 tokens, seldom more than 400 characters."""


class Vocabulary:
    """Classes in the user's own words, and an embedding for every synonym.

    Attributes:
        names: the first synonym of each class, [C].
        synonyms: all synonyms of each class.
        embeddings: [Q, E] float32, one row per synonym, in order.
        query_starts: [C] int, where each class's synonyms begin among the Q queries.
        background: whether class 0 stands for everything that has no name.
    """

    @public("classes", "embeddings")
    def __init__(self, classes: Sequence[str], embeddings: np.ndarray, *, background: bool | None = None) -> None:
        """A vocabulary from embeddings that are at hand.

        Args:
            classes: one entry a class, synonyms separated by semicolons: `["cup; mug", "table"]`.
            embeddings: [Q, E], one row per synonym, in order; usually of unit length. They are copied.
            background: whether class 0 is the background; None means that it is if one of its synonyms is
                "background".

        Raises:
            VocabularyError: names are empty, repeated or too many, or the embeddings do not fit them.
        """
        self.synonyms = parse_classes(classes)
        self.names = tuple(words[0] for words in self.synonyms)
        try:
            self.embeddings = np.array(embeddings, np.float32, order="C")  # a copy: theirs may change later
        except Exception as error:  # an object's own methods may raise anything
            raise VocabularyError(f"the embeddings are not an array of numbers: {error}") from error
        counts = [len(words) for words in self.synonyms]
        self.query_starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
        self.background = has_background(self.synonyms) if background is None else background
        if self.embeddings.ndim != 2 or len(self.embeddings) != sum(counts):
            raise VocabularyError(
                f"expected embeddings [{sum(counts)}, E], one row per synonym, got {list(self.embeddings.shape)}"
            )
        if not np.isfinite(self.embeddings).all():
            raise VocabularyError("the embeddings hold NaN or infinity")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Vocabulary({['; '.join(words) for words in self.synonyms]}, embeddings={list(self.embeddings.shape)})"

    @public()
    def save(self, path: str | Path) -> None:
        """Write the vocabulary to one `.npz` file, so that a box can do without the text engine."""
        header = json.dumps({"classes": self.synonyms, "background": self.background})
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, header=np.frombuffer(header.encode(), np.uint8), embeddings=self.embeddings)

    @classmethod
    @public()
    def load(cls, path: str | Path, *, background: bool | None = None) -> Vocabulary:
        """Read a vocabulary written by `save`.

        Args:
            path: the file.
            background: whether class 0 is the background; None means as it was saved.

        Raises:
            VocabularyError: missing, or not such a file.
        """
        try:
            with opened(path, VocabularyError, "the vocabulary") as file:
                arrays = read_arrays(file, ("header", "embeddings"))
            header, embeddings = json.loads(arrays["header"].tobytes()), arrays["embeddings"]
            classes = [f"{SEPARATOR} ".join(words) for words in header["classes"]]
            known = header["background"] if background is None else background
            return cls(classes, embeddings, background=known)
        except Exception as error:  # zipfile, numpy and json raise many kinds on damaged files
            state = why_no_file(path) or "it is damaged, or something else"
            raise VocabularyError(f"{path} is not a vocabulary saved by Vocabulary.save: {state}") from error


def random_vocabulary(count: int, length: int, *, background: bool = False, seed: int = 0) -> Vocabulary:
    """Classes without words: random unit embeddings, so that no text engine takes part.

    Args:
        count: of classes.
        length: of an embedding.
        background: whether class 0 is one.
        seed: the first classes of a larger vocabulary are those of a smaller one.
    """
    refuse_more(
        count, Limit(CLASSES, "classes", "masks have 16 bits"), "the vocabulary", "Take fewer.", VocabularyError
    )
    rows = np.random.default_rng(seed).standard_normal((count, length))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Vocabulary([f"class {index}" for index in range(count)], rows, background=background)


def as_list(values: Iterable[Any], what: str) -> list[Any]:
    """What an iterable gives, once; of more than `CLASSES`, one more than that.

    Args:
        values: any but a string, whose letters nobody means.
        what: there should be, for the message.

    Raises:
        VocabularyError: it is a string or no iterable, or the user's own iterator fails.
    """
    if isinstance(values, str):
        raise VocabularyError(f"expected {what}, got the string {shown(values)}; write [{shown(values)}]")
    try:
        return list(islice(values, CLASSES + 1))
    except Exception as error:
        raise VocabularyError(f"expected {what}, got {shown(values)}") from error


def parse_classes(classes: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Split every class into its synonyms.

    Raises:
        VocabularyError: a bare string, no classes or too many, an empty name, or a name that stands twice.
    """
    entries = as_list(classes, "a list of class names")
    if len(entries) > CLASSES:
        raise VocabularyError(
            f"the list has more than {CLASSES:,} classes, and masks hold the indices of no more (16 bits); "
            f"name fewer, or segment with a part of them at a time"
        )
    if wrong := [entry for entry in entries if not isinstance(entry, str)]:
        raise VocabularyError(f"expected class names, got {shown(wrong[0])} among them")
    synonyms = tuple(tuple(word.strip() for word in entry.split(SEPARATOR)) for entry in entries)
    if not synonyms:
        raise VocabularyError('the list of classes is empty; name at least one, for example ["cup; mug", "table"]')
    seen: set[str] = set()
    for index, words in enumerate(synonyms):
        for word in words:
            if not word:
                raise VocabularyError(f"class {index} has an empty name in {shown('; '.join(words))}; remove it")
            if len(word) > LONGEST:
                raise VocabularyError(f"{shown(word)} has {len(word)} characters, the most of a name are {LONGEST}")
            if word.casefold() in seen:
                raise VocabularyError(f"{shown(word)} stands twice in the list of classes; name everything once")
            seen.add(word.casefold())
    return synonyms


def has_background(synonyms: Sequence[Sequence[str]]) -> bool:
    """Whether the first class is the background by its name.

    Args:
        synonyms: of each class.
    """
    return any(word.casefold() == BACKGROUND for word in synonyms[0])


def check_words(words: Iterable[str]) -> None:
    """Refuse names that CLIP cannot tell apart, or sees nothing of.

    CLIP repairs Unicode, resolves HTML's entities, lowers all letters and drops spaces between words and signs, so that
    "T-shirt" and "t - shirt" have the same tokens. Of two such classes the second would never win a pixel.

    Raises:
        VocabularyError: with both names.
    """
    seen: dict[tuple[str, ...], str] = {}
    for word in words:
        read = pieces(word)
        if not read:
            raise VocabularyError(f"CLIP's tokenizer sees nothing in the name {word!r}; use letters, digits or signs")
        if (other := seen.setdefault(read, word)) is not word:
            raise VocabularyError(f"{other!r} and {word!r} are the same to CLIP's tokenizer; name everything once")


def check_vocabulary(vocabulary: Vocabulary, length: int, probability_threshold: float) -> None:
    """Refuse what a photo cannot be segmented with, and warn of a class that has no rival.

    Args:
        vocabulary: what was given as one.
        length: of the embeddings of the bundle's CLIP.
        probability_threshold: above 0 it needs a background class.

    Raises:
        VocabularyError: it is none, or its embeddings are another model's.
        ParameterError: the threshold needs a background class.
    """
    check_embeddings(vocabulary, length)
    if len(vocabulary) == 1:
        warn(
            f"{vocabulary.names[0]!r} is the only class, so every pixel becomes it: name what else there is, such as "
            f"'wall' and 'sky', or a 'background'"
        )
    if probability_threshold > 0 and not vocabulary.background:
        raise ParameterError(
            f"probability_threshold={probability_threshold} sends unlikely pixels to class 0, but class 0 is "
            f"{vocabulary.names[0]!r}. Name a background first ('background; wall; sky'), or pass background=True if "
            f"class 0 is meant as one."
        )


def check_embeddings(vocabulary: Vocabulary, length: int) -> None:
    """Refuse what is no vocabulary, or another model's.

    Args:
        vocabulary: what was given as one.
        length: of the embeddings of the bundle's text engine.

    Raises:
        VocabularyError: it is none, or its embeddings have another length.
    """
    if not isinstance(vocabulary, Vocabulary):
        raise VocabularyError(
            f"expected a Vocabulary, got {type(vocabulary).__name__}; make one by segmenter.vocabulary([...]), "
            f"Vocabulary.load(path) or Vocabulary(names, embeddings)"
        )
    came = vocabulary.embeddings.shape[1]
    if came != length:
        raise VocabularyError(f"embeddings of length {came} do not fit this bundle, whose text model makes {length}")
