"""Assets of CLIP's text side for the runtime, beside the engine: `tokenizer.json`, and the prompt templates."""

from __future__ import annotations

from pathlib import Path

from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from ...runtime.errors import ExportError
from ...runtime.words.tokenizer import END, START
from .miniature.words import cut_vocabulary


def clip_tokenizer(table: int | None = None) -> SimpleTokenizer:
    """open_clip's tokenizer, whole or cut.

    Args:
        table: rows of the text tower's embedding table; None means CLIP's.

    Raises:
        ExportError: no tokenizer has as many.
    """
    whole = SimpleTokenizer()
    cut = cut_vocabulary()
    if table in (None, len(whole.encoder)):
        return whole
    if table != len(cut.tokens):
        raise ExportError(
            f"the text tower has embeddings for {table} tokens; CLIP's tokenizer has {len(whole.encoder)}, that of the "
            f"miniature CLIP {len(cut.tokens)}"
        )
    whole.encoder, whole.decoder = cut.tokens, {number: piece for piece, number in cut.tokens.items()}
    whole.bpe_ranks = {merge: rank for rank, merge in enumerate(cut.merges)}
    whole.sot_token_id, whole.eot_token_id = cut.tokens[START], cut.tokens[END]
    return whole


def write_tokenizer(path: Path, table: int | None = None) -> None:
    """Write the byte-pair encoding of `clip_tokenizer(table)` as a `tokenizer.json`.

    Cleaning and cutting are not in it: `runtime.tokenizer` does both in Python, where it agrees with CLIP.
    """
    clip = clip_tokenizer(table)
    merges = sorted(clip.bpe_ranks, key=clip.bpe_ranks.__getitem__)
    tokenizer = Tokenizer(BPE(vocab=clip.encoder, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.save(str(path))


def imagenet_templates() -> tuple[str, ...]:
    """CLIP's 80 templates for ImageNet, `{}` standing for the name."""
    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
