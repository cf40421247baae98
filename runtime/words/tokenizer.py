"""CLIP's tokenizer, from `tokenizer.json` and without open_clip.

Cleaning and cutting are CLIP's, done in Python, because `tokenizers` differs in both: its normalisers treat curly
quotes, ligatures, full-width forms and the final sigma in another way, and its regular expressions know another version
of Unicode's letters. The file's byte-level pre-tokenizer and BPE model do the rest. Special tokens are matched as
pieces, as CLIP's expression does, not searched for in the raw text.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ftfy
import msgspec
import numpy as np
import regex
from tokenizers import Tokenizer

from ..boundary.reading import read_text
from ..errors import BundleError, shown

LARGEST = np.iinfo(np.int32).max
AGAIN = "Copy the bundle again, or export it again with --force."
START, END = "<start_of_text>", "<end_of_text>"
PIECES = regex.compile(
    rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+", regex.IGNORECASE
)
"""How CLIP cuts cleaned text."""


class _Model(msgspec.Struct):
    continuing_subword_prefix: str | None = None
    """The library subtracts its length from that of the parts, and may end the process where these are shorter."""


class _File(msgspec.Struct):
    model: _Model


class ClipTokenizer:
    """Texts to tokens, equal to open_clip's `SimpleTokenizer` with lower-casing."""

    def __init__(self, path: str | Path, context_length: int) -> None:
        """Load the tokenizer.

        Args:
            path: the bundle's `tokenizer.json`.
            context_length: tokens of a text, start and end included; longer texts are cut.

        Raises:
            BundleError: the file cannot be read, or is no tokenizer.
        """
        self._tokenizer = _read(path)
        ids = {token: self._tokenizer.token_to_id(token) for token in (START, END)}
        if not all(number is not None and number <= LARGEST for number in ids.values()):
            raise BundleError(f"{path} is no tokenizer of CLIP's: it lacks {START} or {END}. {AGAIN}")
        self._path = path
        self._special = {token: number for token, number in ids.items() if number is not None}
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and end."""
        tokens: list[int] = []
        for piece in PIECES.findall(clean(text)):
            special = self._special.get(piece)
            tokens += [special] if special is not None else self._merge(piece)
        return tokens

    def cut(self, text: str) -> int:
        """How many tokens a text has with start and end, if that is more than are read; else 0."""
        count = len(self.encode(text)) + 2
        return count if count > self.context_length else 0

    def _merge(self, piece: str) -> list[int]:
        """The tokens of one piece: its UTF-8 bytes as characters, merged."""
        with refused(f"{self._path} cannot cut {shown(piece)}"):
            characters = "".join(part for part, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(piece))
            ids = [token.id for token in self._tokenizer.model.tokenize(characters)]
        if any(number > LARGEST for number in ids):
            raise BundleError(f"{self._path} has numbers of tokens above {LARGEST}. {AGAIN}")
        return ids

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of several texts: [P, context_length] int32, padded with zeros."""
        rows = np.zeros((len(texts), self.context_length), np.int32)
        for row, text in zip(rows, texts, strict=True):
            tokens = [self._special[START], *self.encode(text)[: self.context_length - 2], self._special[END]]
            row[: len(tokens)] = tokens
        return rows


def pieces(text: str) -> tuple[str, ...]:
    """The words and signs that CLIP sees of a text: texts with the same ones have the same tokens."""
    return tuple(piece.lower() for piece in PIECES.findall(clean(text)))


def _read(path: str | Path) -> Tokenizer:
    text = read_text(path, BundleError, "the tokenizer")
    with refused(f"{path} is no tokenizer"):
        if prefix := msgspec.json.decode(text, type=_File).model.continuing_subword_prefix:
            raise ValueError(f"CLIP's has no prefix within words, this has {shown(prefix)}")
        tokenizer = Tokenizer.from_str(text)
    if tokenizer.pre_tokenizer is None:
        raise BundleError(f"{path} is no tokenizer of CLIP's: it has no byte-level pre-tokenizer. {AGAIN}")
    return tokenizer


@contextmanager
def refused(what: str) -> Iterator[None]:
    """What the library raises, as an error of the bundle. It raises Exception itself, and its panics are not even that.

    Raises:
        BundleError: with what was refused.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise BundleError(f"{what} ({error}). {AGAIN}") from error


def clean(text: str) -> str:
    """CLIP's cleaning: repaired Unicode, HTML entities resolved twice, single spaces, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()
