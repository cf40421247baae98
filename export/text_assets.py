"""What the runtime needs of CLIP's text side beside the engine: `tokenizer.json`, and the prompt templates."""

from __future__ import annotations

from pathlib import Path

from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel


def write_tokenizer(path: Path) -> None:
    """Write open_clip's byte-pair encoding as a `tokenizer.json`.

    Cleaning and cutting are not in it: `runtime.tokenizer` does both in Python, where it agrees with CLIP.
    """
    clip = SimpleTokenizer()
    merges = sorted(clip.bpe_ranks, key=clip.bpe_ranks.__getitem__)
    tokenizer = Tokenizer(BPE(vocab=clip.encoder, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.save(str(path))


def imagenet_templates() -> tuple[str, ...]:
    """CLIP's 80 templates for ImageNet, `{}` standing for the name."""
    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
