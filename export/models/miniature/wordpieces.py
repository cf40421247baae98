"""A small vocabulary of BERT's kind, for detectors with random weights: letters, and the names of drawn scenes.

Its special tokens, full stop and question mark have BERT's numbers, because Grounding DINO's code knows them by these.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as Decoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from ....runtime.scenes.names import ALL_NAMES

PLACED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
FIRST_SIGN = 999
"""Where BERT's signs begin: those of ASCII in order, without capitals."""

SIGNS = [chr(code) for code in range(ord("!"), ord("~") + 1) if not "A" <= chr(code) <= "Z"]
SIZE = 2048


def vocabulary() -> dict[str, int]:
    """Pieces and their numbers, SIZE of them: all lower-case ASCII can be cut."""
    letters = [sign for sign in SIGNS if sign.isalnum()]
    words = dict.fromkeys(word for name in ALL_NAMES for word in name.lower().split())
    pieces = [*SIGNS, *(f"##{letter}" for letter in letters), *(word for word in words if len(word) > 1)]
    placed = PLACED | {piece: FIRST_SIGN + index for index, piece in enumerate(pieces)}
    taken = set(placed.values())
    return placed | {f"[unused{number}]": number for number in range(SIZE) if number not in taken}


def write_wordpieces(path: Path) -> None:
    """Write the vocabulary as a `tokenizer.json` that cleans and cuts as BERT's."""
    known = vocabulary()
    tokenizer = Tokenizer(WordPiece(known, unk_token="[UNK]"))  # noqa: S106  # nosec B106
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.decoder = Decoder(prefix="##")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(sign, known[sign]) for sign in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_special_tokens(list(PLACED))
    tokenizer.save(str(path))
