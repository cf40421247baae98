"""Phrases of one text: who sees whom, where each token stands, and which tokens are whose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONGEST_TEXT = 256
"""Tokens of a text that Grounding DINO reads, `[CLS]` and `[SEP]` included."""

NOBODY = -1


class TextInputs(NamedTuple):
    """What an engine is told of a text of phrases, L tokens in all."""

    position_ids: np.ndarray
    """[1, L] int32, counted from 0 in each phrase; 0 for `[CLS]` and `[SEP]`."""
    attends: np.ndarray
    """[1, L, L] bool: tokens of one phrase see each other, its full stop included; all see themselves."""
    owners: np.ndarray
    """[L] intp: the phrase of which a token is a word, NOBODY for full stops, `[CLS]` and `[SEP]`."""


def text_inputs(lengths: Sequence[int]) -> TextInputs:
    """Masks and positions of phrases after each other, between `[CLS]` and `[SEP]`.

    As transformers' `generate_masks_with_special_tokens_and_transfer_map` makes them of the text's tokens.

    Args:
        lengths: tokens of each phrase, its full stop included.
    """
    spans = np.repeat(np.arange(len(lengths)), lengths)
    blocks = np.concatenate([[-1], spans, [-2]])
    steps = [np.arange(length) for length in lengths]
    inner = [np.where(step == step[-1], NOBODY, phrase) for phrase, step in enumerate(steps)]
    return TextInputs(
        np.concatenate([[0], *steps, [0]]).astype(np.int32)[None],
        (blocks[:, None] == blocks)[None],
        np.concatenate([[NOBODY], *inner, [NOBODY]]).astype(np.intp),
    )


def passes(lengths: Sequence[int], most: int = LONGEST_TEXT) -> list[slice]:
    """The phrases that go through together, in order: as many as fit.

    Args:
        lengths: tokens of each phrase, its full stop included, each at most `most` - 2.
        most: tokens of a text.
    """
    found, begin, count = [], 0, 2
    for index, length in enumerate(lengths):
        if index > begin and count + length > most:
            found.append(slice(begin, index))
            begin, count = index, 2
        count += length
    return [*found, slice(begin, len(lengths))]
