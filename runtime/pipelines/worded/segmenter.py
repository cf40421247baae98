"""Segmenters that take words: names become embeddings by the bundle's own text engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ...backends.base import Session
from ...boundary.arguments import public
from ...bundle.bundle import Manifest
from ...errors import BundleError, VocabularyError, hearing
from ...recipe.recipe import warn_of_unused
from ...reporting import Reporter, silent
from ...words.vocabulary import Vocabulary, as_list, check_vocabulary, parse_classes
from ..base import Segmenter
from ..engines import Engines
from ..text_embedder import TextEmbedder


class Turns(NamedTuple):
    """Locks that a photo holds, so that photos of several threads do not get in each other's way."""

    photo: AbstractContextManager[Any]
    """Held from the first engine to the last, also while none runs, for a GPU's buffers are used again."""
    engines: AbstractContextManager[Any]
    """Held while an engine runs, for memory and cores do not suffice for any number."""


class WordedSegmenter(Segmenter):
    """A segmenter with an embedder of names; without one vocabularies come with their embeddings."""

    parameters: Any
    """The pipeline's own struct."""

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Session],
        *,
        embedder: TextEmbedder | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """A segmenter over sessions that are open already (`Segmenter.load` opens a bundle's).

        Args:
            manifest: describes the engines.
            engines: sessions by stage; all of the recipe's but the text engine's.
            embedder: turns names into embeddings; None if vocabularies come with theirs.
            parameters: overrides of the recipe's.

        Raises:
            BundleError: a stage has no session.
            ParameterError: an override cannot be used.
        """
        self.manifest = manifest
        self.engines = engines if isinstance(engines, Engines) else Engines(engines)
        self._embedder = embedder
        if missing := sorted(self._needed() - set(self.engines)):
            recipe = manifest.recipe
            what = f"method {recipe.method!r}" if recipe.method else f"the pipeline {recipe.pipeline!r}"
            raise BundleError(f"{what} needs a session for {', '.join(missing)}")
        self.parameters = self._overridden(manifest.recipe.parameters, parameters)

    def _needed(self) -> set[str]:
        """Stages that must have a session."""
        return set(self.manifest.recipe.running_stages)

    def _overridden(self, base: Any, overrides: Mapping[str, Any] | None) -> Any:
        """Parameters with overrides.

        Raises:
            ParameterError: one cannot be used.
        """
        warn_of_unused(self.manifest.recipe, overrides or {})
        return self.manifest.recipe.family.override(base, overrides)

    def _checked(self, vocabulary: Vocabulary, settings: Any) -> list[str]:
        """Refuse words that a photo cannot be segmented with; what was warned of."""
        with hearing() as of_words:
            check_vocabulary(vocabulary, self.manifest.dimensions.embedding, settings.probability_threshold)
        return of_words

    @public("classes", "templates")
    def vocabulary(
        self,
        classes: Iterable[str] | None = None,
        *,
        templates: Iterable[str] | None = None,
        background: bool | None = None,
        progress: Reporter = silent,
    ) -> Vocabulary:
        """Embed class names: see `Segmenter.vocabulary`."""
        if self._embedder is None or self.manifest.text is None:
            raise VocabularyError("there is no text engine here; use Vocabulary.load or Vocabulary(names, embeddings)")
        self.engines.refuse_closed()
        if classes is None:
            recipe = self.manifest.recipe
            if not recipe.classes:
                raise VocabularyError(f"the recipe {recipe.name!r} has no classes of its own; name some")
            classes = recipe.classes
            background = recipe.background if background is None else background
        given = as_list(classes, "a list of class names")
        prompts = as_list(self.manifest.text.templates if templates is None else templates, "a list of templates")
        words = [word for synonyms in parse_classes(given) for word in synonyms]
        self._embedder.check(words)
        embeddings = []
        with self.engines.turn:
            for index, word in enumerate(words):
                progress(f"embedding names, {index + 1} of {len(words)}", share=index / len(words))
                embeddings.append(self._embedder.embed(word, prompts))
        return Vocabulary(given, np.stack(embeddings), background=background)

    def close(self) -> None:
        """Free all engines."""
        super().close()
        if self._embedder is not None:
            self._embedder.close()
