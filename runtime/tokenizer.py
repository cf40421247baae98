"""CLIP's tokenizer, from `tokenizer.json` and without open_clip.

Cleaning is CLIP's, done in Python, because the normalisers of `tokenizers` treat curly quotes, ligatures, full-width
forms and the final sigma differently. Pieces are cut by the file's pre-tokenizer and merged by its BPE model; special
tokens are matched as pieces, as CLIP's regular expression does, not searched for in the raw text.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import ftfy
import numpy as np
from tokenizers import Tokenizer

START, END = "<start_of_text>", "<end_of_text>"


class ClipTokenizer:
    """Texts to tokens, equal to open_clip's `SimpleTokenizer` with lower-casing."""

    def __init__(self, path: str | Path, context_length: int) -> None:
        """Load the tokenizer.

        Args:
            path: the bundle's `tokenizer.json`.
            context_length: tokens of a text, start and end included; longer texts are cut.
        """
        self._tokenizer = Tokenizer.from_file(str(path))
        ids = {token: self._tokenizer.token_to_id(token) for token in (START, END)}
        self._special = {token: number for token, number in ids.items() if number is not None}
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and end."""
        tokens: list[int] = []
        for piece, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(clean(text)):
            special = self._special.get(piece)
            tokens += [special] if special is not None else [t.id for t in self._tokenizer.model.tokenize(piece)]
        return tokens

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of several texts: [P, context_length] int32, padded with zeros."""
        rows = np.zeros((len(texts), self.context_length), np.int32)
        for row, text in zip(rows, texts, strict=True):
            tokens = [self._special[START], *self.encode(text)[: self.context_length - 2], self._special[END]]
            row[: len(tokens)] = tokens
        return rows


def clean(text: str) -> str:
    """CLIP's cleaning: repaired Unicode, HTML entities resolved twice, single spaces, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()
