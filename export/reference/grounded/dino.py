"""Grounding DINO in PyTorch: a sentence and a photo to boxes, plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ....runtime.bundle.bundle import TOKENIZER, Bundle
from ....runtime.errors import ExportError
from ....runtime.pipelines.grounded.dino import Text, framed, texts_of
from ....runtime.pipelines.grounded.stages import GROUND_DETECTOR, GROUND_INPUTS, GROUND_TEXT
from ....runtime.words.phrases import text_inputs
from ....runtime.words.vocabulary import Vocabulary
from ....runtime.words.wordpiece import PhraseTokenizer
from ...models.miniature.wordpieces import SIZE, write_wordpieces
from ..maker import StageMaker
from ..networks import Networks
from ..trace import Tensors, Trace
from .grounding import makers
from .kinds import Found, Kind

ROLE = "detector"

TOKENS = 32
"""Of a phrase, at most: 29 of a name."""

NAMES = ("red dotted", "a brick-coloured thing", "sky")
"""Names of the text engine's check."""

FIRST_WORD = 1040
"""Of a vocabulary of BERT's kind: from here on tokens are no signs."""


def _tensors(arrays: Mapping[str, np.ndarray]) -> Tensors:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def detect(networks: Networks, trace: Trace, vocabulary: Vocabulary) -> Found:
    """Boxes above the thresholds, as transformers' processor takes them; a box's class is its surest word's."""
    model, settings = networks.models[ROLE], trace.settings
    image, found = _tensors(framed(trace.photo, model.image_size)), []
    for text in texts_of(vocabulary, TOKENS):
        inputs = {name: ({**image, **_tensors(text.feeds)})[name] for name in GROUND_INPUTS}
        with trace.time(GROUND_DETECTOR):
            logits, boxes = networks.modules[GROUND_DETECTOR](*inputs.values())
        trace.stages.setdefault(GROUND_DETECTOR, (inputs, {"logits": logits, "boxes": boxes}))
        found.append(_above(logits[0].sigmoid(), boxes[0], text, trace.photo.shape[:2], settings))
    empty = Found(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    return Found(*(torch.cat(parts) for parts in zip(empty, *found, strict=True)))


def _above(shares: torch.Tensor, boxes: torch.Tensor, text: Text, photo_hw: tuple[int, ...], settings: Any) -> Found:
    """Of one text: [Q, L] probabilities and [Q, 4] shares of the photo."""
    rows, (height, width) = [], photo_hw
    ends = [*text.starts[1:], len(text.columns)]
    names = [shares[:, text.columns[begin:end]].amax(1) for begin, end in zip(text.starts, ends, strict=True)]
    best, which = torch.stack(names, 1).max(1)
    for query in torch.flatten(
        torch.nonzero((shares.amax(1) > settings.box_threshold) & (best > settings.text_threshold))
    ):
        x, y, w, h = boxes[query]
        corners = torch.stack(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
        rows.append((corners, torch.tensor(text.classes[which[query]]), shares[query].amax()))
    if not rows:
        return Found(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    return Found(*(torch.stack(values) for values in zip(*rows, strict=True)))


def words_for(networks: Networks, trace: Trace) -> Vocabulary:
    """Six classes of two tokens each, whatever these say."""
    random = np.random.default_rng(0)
    rows = []
    for first, second in random.integers(FIRST_WORD, networks.models[ROLE].config.text_config.vocab_size, (6, 2)):
        rows.append(_embedding(networks, np.array([[101, first, second, 1012, 102]], np.int32)))
    return Vocabulary([f"class {index}" for index in range(len(rows))], np.stack(rows))


def text_of(networks: Networks, trace: Trace, bundle: Bundle | None) -> None:
    """Record the text engine's stage: the runtime's tokens for the engine, the tokenizer's own for the reference."""
    with TemporaryDirectory(prefix="ovdeploy-") as folder:
        path = bundle.tokenizer_path() if bundle else Path(folder) / TOKENIZER
        if bundle is None:
            write_text(networks, path)
        tokenizer = PhraseTokenizer(path, TOKENS)
        tokens, lengths = tokenizer.text(NAMES), [len(tokenizer.encode(name)) + 1 for name in NAMES]
        whole = Tokenizer.from_file(str(path)).encode(f"{'. '.join(NAMES)}.").ids
    told = text_inputs(lengths)
    inputs = _tensors({"tokens": tokens, "position_ids": told.position_ids, "attends": told.attends})
    reference = torch.tensor([whole], dtype=torch.int32)
    features = networks.modules[GROUND_TEXT](reference, inputs["position_ids"], inputs["attends"])
    trace.stages[GROUND_TEXT] = inputs, {"text_features": features}


@torch.no_grad()
def embed_word(networks: Networks, bundle: Bundle, word: str, templates: Sequence[str]) -> np.ndarray:
    """As `Family.embed_word`: the features of the phrase's tokens, one after the other; zeros follow."""
    tokens = PhraseTokenizer(bundle.tokenizer_path(), TOKENS)(templates[0].replace("{}", word))
    return _embedding(networks, tokens)


def _embedding(networks: Networks, tokens: np.ndarray) -> np.ndarray:
    """[1, L] int32, a phrase with what begins and ends a text → [T · D]."""
    told = text_inputs([tokens.shape[1] - 2])
    inputs = map(torch.from_numpy, (tokens, told.position_ids, told.attends))
    features = networks.modules[GROUND_TEXT](*inputs)[0].numpy()
    embedding: np.ndarray = np.pad(features, ((0, TOKENS - len(features)), (0, 0))).ravel()
    return embedding


def write_text(networks: Networks, path: Path) -> tuple[str, ...]:
    """Write the model's tokenizer: the one beside its checkpoint, or the miniature vocabulary's.

    Raises:
        ExportError: its weights came without one.
    """
    model = networks.models[ROLE]
    if model.tokenizer_json:
        path.write_text(model.tokenizer_json, encoding="utf-8")
    elif model.config.text_config.vocab_size == SIZE:
        write_wordpieces(path)
    else:
        raise ExportError(
            f"{networks.recipe.models[ROLE].model} needs BERT's tokenizer, which its weights do not hold. Give "
            f"--weights detector=FOLDER, a folder with the published model.safetensors and {TOKENIZER}"
        )
    return ("{}",)


def _sizes(networks: Networks) -> dict[str, Any]:
    model = networks.models[ROLE]
    height, width = model.image_size
    return {
        "detector_height": height,
        "detector_width": width,
        "embedding": TOKENS * model.config.d_model,
        "context_length": TOKENS,
    }


def _makers(networks: Networks) -> Mapping[str, StageMaker]:
    text, detector = makers(lambda networks: networks.models[ROLE])
    return {GROUND_TEXT: text, GROUND_DETECTOR: detector}


DINO_KIND = Kind(
    makers=_makers, sizes=_sizes, write_text=write_text, embed_word=embed_word, vocabulary=words_for, detect=detect,
    text=text_of,
)  # fmt: skip
