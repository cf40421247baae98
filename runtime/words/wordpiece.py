"""BERT's tokenizer, WordPiece, from `tokenizer.json`: names as the phrases that a detector reads.

Cleaning and cutting are in the file, as transformers writes it. A text of such a detector is "a cat. traffic light.":
names in lower case, each closed by a full stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from ..boundary.reading import read_text
from ..errors import BundleError, VocabularyError, shown, warn
from .tokenizer import AGAIN, LARGEST, refused

START, END, STOP, UNKNOWN = "[CLS]", "[SEP]", ".", "[UNK]"
ENDS = ".?"
"""Signs that end a phrase for the detector, wherever they stand."""


class _Model(msgspec.Struct):
    type: str
    vocab: dict[str, int]
    unk_token: str = UNKNOWN


class _File(msgspec.Struct):
    model: _Model


class PhraseTokenizer:
    """Names to phrases: `[CLS]`, the name's tokens, the full stop, `[SEP]`."""

    def __init__(self, path: str | Path, most: int) -> None:
        """Load the tokenizer.

        Args:
            path: the bundle's `tokenizer.json`.
            most: tokens of a phrase, these three included.

        Raises:
            BundleError: the file cannot be read, or is no tokenizer of BERT's.
        """
        self._tokenizer, self.most = _read(path), most
        self._path = path
        self.start, self.end, self.stop, self.unknown = (self._number(sign) for sign in (START, END, STOP, UNKNOWN))

    def encode(self, name: str) -> list[int]:
        """The tokens of a name alone. Full stops and question marks in it are read as spaces, which is warned of.

        Raises:
            VocabularyError: nothing is left of it, or it has too many tokens.
        """
        read = "".join(" " if sign in ENDS else sign for sign in name.lower())
        if read.split() != name.lower().split():
            warn(
                f"{shown(name)} has signs that end a phrase for this detector ({' and '.join(ENDS)}); it is read as "
                f"{shown(' '.join(read.split()))}. Leave them out, to be sure of what is meant."
            )
        with refused(f"{self._path} cannot cut {shown(name)}"):
            tokens = [int(token) for token in self._tokenizer.encode(read, add_special_tokens=False).ids]
        self._check(name, tokens)
        return tokens

    def __call__(self, name: str) -> np.ndarray:
        """The phrase of a name: [1, L] int32, L at least 4.

        Raises:
            VocabularyError: as `encode`.
        """
        return np.array([[self.start, *self.encode(name), self.stop, self.end]], np.int32)

    def text(self, names: Sequence[str]) -> np.ndarray:
        """The tokens of several names after each other, between one `[CLS]` and one `[SEP]`: [1, L] int32.

        Raises:
            VocabularyError: as `encode`.
        """
        phrases = [token for name in names for token in (*self.encode(name), self.stop)]
        return np.array([[self.start, *phrases, self.end]], np.int32)

    def _check(self, name: str, tokens: Sequence[int]) -> None:
        if not tokens:
            raise VocabularyError(f"the detector's tokenizer sees nothing in the name {shown(name)}; use letters")
        if {self.start, self.end, self.stop}.intersection(tokens):
            raise VocabularyError(f"{shown(name)} has signs that the detector keeps for itself; write it in words")
        if len(tokens) + 3 > self.most:
            raise VocabularyError(
                f"the name {shown(name)} makes {len(tokens)} tokens, and this detector reads {self.most - 3}: the rest "
                f"would be cut off. Shorten it"
            )
        if self.unknown in tokens:
            warn(f"the detector's tokenizer does not know all of {shown(name)}, and may miss it. Say it in English")

    def _number(self, sign: str) -> int:
        number = self._tokenizer.token_to_id(sign)
        if number is None or number > LARGEST:
            raise BundleError(f"{self._path} is no tokenizer of BERT's: it lacks {sign}. {AGAIN}")
        return int(number)


def _read(path: str | Path) -> Tokenizer:
    text = read_text(path, BundleError, "the tokenizer")
    with refused(f"{path} is no tokenizer"):
        model = msgspec.json.decode(text, type=_File).model
        if model.type != "WordPiece" or model.unk_token not in model.vocab:
            raise ValueError(f"expected a WordPiece that knows {model.unk_token}, got a {shown(model.type)}")
        tokenizer = Tokenizer.from_str(text)
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer
