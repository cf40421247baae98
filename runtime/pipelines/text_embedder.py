"""From words to embeddings: templates, the text engine, and a cache on disk."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.base import Session
from ..bundle.bundle import Bundle
from ..bundle.opening import graph_precision
from ..errors import VocabularyError, shown
from ..files import cache_root
from ..kept.arrays import read_arrays, write_arrays
from ..kept.form import Form
from ..reporting import logger
from ..words.tokenizer import ClipTokenizer
from ..words.vocabulary import check_words

log = logger("pipelines")

FORM = Form("embedding", 1, most=1 << 20)
EMBEDDING = "embedding"
"""The name of the array in the file."""


def cache_folder() -> Path:
    """Where embeddings are kept: `embeddings` in `cache_root()`."""
    return cache_root() / "embeddings"


class TextEmbedder:
    """Embeds names by a text engine; what was embedded before is read from the cache.

    An embedding is found again only for the same text engine, the same tokenizer, the same templates and the same
    name, because all four are in its key.

    Attributes:
        tokenizer: makes the tokenizer of a bundle's `tokenizer.json` and context length.
    """

    tokenizer: Callable[[Path, int], Any] = ClipTokenizer

    def __init__(
        self,
        open_engine: Callable[[], Session],
        open_tokenizer: Callable[[], Any],
        identity: str,
        folder: Path | None = None,
    ) -> None:
        """An embedder that opens its engine only when the cache does not have the answer.

        Args:
            open_engine: loads the text engine.
            open_tokenizer: loads the tokenizer.
            identity: what tells this text engine and tokenizer from any other (hashes of their files).
            folder: the cache; None means `cache_folder()`.
        """
        self._open_engine, self._open_tokenizer = open_engine, open_tokenizer
        self._engine: Session | None = None
        self._cuts: Any = None
        self._identity = identity
        self._opening = threading.Lock()
        self._folder = folder or cache_folder()

    def check(self, words: Sequence[str]) -> None:
        """Refuse names that the model cannot tell apart or sees nothing of, and warn of those that it reads otherwise.

        That does not depend on what the cache has, and no engine is run for it.

        Raises:
            VocabularyError: with the names.
        """
        check_words(words)

    def embed(self, name: str, templates: Sequence[str]) -> np.ndarray:
        """The embedding of one name.

        Every template is filled in and embedded at unit length; their mean is brought to unit length (CLIP's prompt
        ensembling).

        Returns:
            [E] float32, unit length.

        Raises:
            VocabularyError: there are no templates, or one lacks `{}`.
        """
        if not _are_templates(templates):
            raise VocabularyError(
                f"every template needs a {{}} for the name, and there must be a list of at least one; "
                f"got {shown(templates)}"
            )
        key = json.dumps([self._identity, list(templates), name])
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.embedding"
        embedding = _sound(read_arrays(FORM, path, key))
        log.debug("%r: its embedding %s", name, "is computed" if embedding is None else "was kept")
        if embedding is None:
            embedding = self._compute(name, templates)
            write_arrays(FORM, path, key, {EMBEDDING: embedding})  # a cache that cannot be written costs time
        return embedding

    def _session(self) -> Session:
        with self._opening:
            if self._engine is None:
                self._engine = self._open_engine()
            return self._engine

    def _tokenizer(self) -> Any:
        with self._opening:
            if self._cuts is None:
                self._cuts = self._open_tokenizer()
            return self._cuts

    def _compute(self, name: str, templates: Sequence[str]) -> np.ndarray:
        tokenizer = self._tokenizer()
        texts = [template.replace("{}", name) for template in templates]
        tokens = tokenizer(texts)
        if tokens[:, -1].any():
            _refuse_cut(name, texts, tokenizer)
        features = self._session().run({"tokens": tokens})["features"]
        return ensemble(features)

    def close(self) -> None:
        """Close the text engine, if it was opened."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def text_embedder(
    bundle: Bundle,
    stage: str,
    precision: str,
    backend: str,
    open_engine: Callable[[], Session],
    kind: type[TextEmbedder] = TextEmbedder,
) -> TextEmbedder | None:
    """An embedder for a bundle's text engine; None if the bundle has no such stage.

    Args:
        bundle: the bundle.
        stage: the text engine's.
        precision: what is computed in.
        backend: what runs the engine.
        open_engine: opens it.
        kind: how its words are embedded.
    """
    if stage not in bundle.manifest.stages or bundle.manifest.text is None:
        return None
    precision = bundle.stage(stage).resolved(precision)
    held = graph_precision(bundle, stage, precision, backend)
    engine = bundle.stage(stage).engines.get(held)
    if engine is None:
        return None
    if all((bundle.path / file.path).exists() for file in engine.files):
        bundle.engine_path(stage, held)  # damage is told now; a box may do without the file
    made = [precision] if precision != held else []  # else embeddings of both would be taken for the same
    hashes = [file.sha256 for file in (*engine.files, bundle.manifest.text.tokenizer)]

    def open_tokenizer() -> Any:
        return kind.tokenizer(bundle.tokenizer_path(), bundle.manifest.dimensions.context_length)

    return kind(open_engine, open_tokenizer, " ".join([*hashes, *made]))


def _refuse_cut(name: str, texts: Sequence[str], tokenizer: ClipTokenizer) -> None:
    """Refuse a name of which CLIP would not read the end: two names that differ there would be one.

    Raises:
        VocabularyError: with the name and the count.
    """
    longest = max(map(tokenizer.cut, texts))
    if longest:
        told = shown(name if len(name) <= 60 else f"{name[:60]}…")
        raise VocabularyError(
            f"the name {told} makes {longest} tokens with its template, and CLIP reads {tokenizer.context_length}: "
            f"the rest would be cut off. Shorten it"
        )


def _are_templates(templates: Any) -> bool:
    if not isinstance(templates, list | tuple):
        return False
    return bool(templates) and all(isinstance(each, str) and "{}" in each for each in templates)


def ensemble(features: np.ndarray) -> np.ndarray:
    """CLIP's prompt ensembling: [P, E] features of a name's prompts to its embedding, [E] of unit length."""
    return unit(unit(features).mean(axis=0))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to unit length along the last axis."""
    scaled: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def _sound(arrays: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
    """A cached embedding; None if it is not there or is not one."""
    embedding = (arrays or {}).get(EMBEDDING)
    if embedding is None or embedding.dtype != np.float32 or embedding.ndim != 1:
        return None
    return embedding if np.isfinite(embedding).all() else None
