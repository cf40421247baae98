"""The words of the miniature CLIP: CLIP's own byte-pair encoding, its table cut to what those words need.

A word of the list is cut into the same pieces as by the full tokenizer, because every merge that it needs is kept and
none that it does not need can come before. Any other word falls into smaller pieces, in the end into bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode

from ....runtime.scenes.captions import BEFORE, JOINED, NOTHING_BUT, NOUNS, OPENINGS
from ....runtime.scenes.names import ALL_NAMES
from ....runtime.scenes.silhouettes import SILHOUETTES
from ....runtime.words.tokenizer import END, START

Pair = tuple[str, str]
END_OF_WORD = "</w>"
ARTICLES = ("a", "an", "the", "one", "and", "or", "something", "everything", "background", "of")


class CutVocabulary(NamedTuple):
    """A table of pieces and the merges that make them."""

    tokens: dict[str, int]
    merges: list[Pair]


@cache
def cut_vocabulary() -> CutVocabulary:
    """CLIP's table cut to bytes, to the pieces that the words need, and to start and end.

    The end comes last: CLIP's text tower takes its result from the token with the largest number.
    """
    ranks: Mapping[Pair, int] = SimpleTokenizer().bpe_ranks
    merges = sorted({merge for word in known_words() for merge in merges_of(word, ranks)}, key=ranks.__getitem__)
    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(letter + END_OF_WORD for letter in letters), *("".join(pair) for pair in merges), START, END]
    return CutVocabulary({piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, merges)


def known_words() -> list[str]:
    """Every word of the names, the captions and CLIP's templates."""
    texts: Iterable[str] = (
        *ALL_NAMES,
        *SILHOUETTES,
        *NOUNS,
        *OPENINGS,
        *BEFORE,
        *JOINED,
        *NOTHING_BUT,
        *ARTICLES,
        *(template("") for template in OPENAI_IMAGENET_TEMPLATES),
    )
    return sorted({word for text in texts for word in re.findall(r"[a-z]+|[^\sa-z]+", text.lower())})


def merges_of(word: str, ranks: Mapping[Pair, int]) -> list[Pair]:
    """The merges that byte-pair encoding applies to a word, in order."""
    pieces = [*word[:-1], word[-1] + END_OF_WORD]
    used: list[Pair] = []
    while True:
        known = [pair for pair in pairwise(pieces) if pair in ranks]
        if not known:
            return used
        best = min(known, key=ranks.__getitem__)
        used.append(best)
        merged: list[str] = []
        for piece in pieces:
            if merged and (merged[-1], piece) == best:
                merged[-1] += piece
            else:
                merged.append(piece)
        pieces = merged
