"""Words for the checks of engines: a vocabulary that a photo's features fall into, and texts for the text engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ...runtime.bundle.bundle import TOKENIZER, Bundle
from ...runtime.pipelines.text_embedder import ensemble
from ...runtime.pipelines.worded.stages import TEXT
from ...runtime.words.tokenizer import ClipTokenizer
from ...runtime.words.vocabulary import Vocabulary
from ..models.text_assets import clip_tokenizer, write_tokenizer
from .embed import Upstream
from .trace import Tensors

if TYPE_CHECKING:
    from .networks import Networks

CLASSES, ROUNDS = 6, 10
TEXTS = ("a photo of a cup.", "a bad photo of the “naïve” façade &amp; sky!", "")
"""Texts of the text engine's check; the second is hard on tokenizers."""


def separating_vocabulary(features: np.ndarray) -> Vocabulary:
    """Classes that a photo's features fall into, whatever the weights mean; deterministic.

    k-means on the image features, begun at points far apart. An embedding is its cluster's centre less what all
    features share, so that no class wins everywhere.

    Args:
        features: [N, E] float64.
    """
    shared = features.mean(axis=0)
    shared /= np.linalg.norm(shared)
    own = features - (features @ shared)[:, None] * shared
    centres = own[_far_apart(own, CLASSES)]
    for _ in range(ROUNDS):
        nearest = _gaps(own, centres).argmin(axis=1)
        centres = np.stack(
            [own[nearest == k].mean(axis=0) if (nearest == k).any() else c for k, c in enumerate(centres)]
        )
    embeddings = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return Vocabulary([f"class {index}" for index in range(len(centres))], embeddings)


def _far_apart(points: np.ndarray, count: int) -> list[int]:
    """Indices of points, each the farthest from those before it."""
    chosen = [int(np.linalg.norm(points, axis=1).argmax())]
    while len(chosen) < min(count, len(points)):
        chosen.append(int(_gaps(points, points[chosen]).min(axis=1).argmax()))
    return chosen


def _gaps(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[N, K] distances."""
    return np.stack([np.linalg.norm(points - centre, axis=1) for centre in centres], axis=1)


@torch.no_grad()
def clip_embedding(networks: Networks, bundle: Bundle, word: str, templates: Sequence[str]) -> np.ndarray:
    """A name's embedding by the reference's text encoder: [E] float32, unit length."""
    tokenizer = ClipTokenizer(bundle.tokenizer_path(), bundle.manifest.dimensions.context_length)
    tokens = torch.from_numpy(tokenizer([template.replace("{}", word) for template in templates]))
    return ensemble(networks.modules[TEXT](tokens).numpy())


def text_case(clip: Upstream, encoder: nn.Module, bundle: Bundle | None) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of the text engine: the runtime's tokens for the engine, open_clip's for the reference.

    So the tokenizer is checked with it.

    Args:
        clip: open_clip's CLIP.
        encoder: its text encoder.
        bundle: whose tokenizer is checked; None: a fresh one.
    """
    table, length = clip.vocab_size, clip.context_length
    with TemporaryDirectory(prefix="ovdeploy-") as folder:
        path = Path(folder) / TOKENIZER
        if bundle is None:
            write_tokenizer(path, table)
        tokens = ClipTokenizer(bundle.tokenizer_path() if bundle else path, length)(TEXTS)
    features = encoder(clip_tokenizer(table)(list(TEXTS), length))
    return {"tokens": torch.from_numpy(tokens)}, {"features": features}
