"""Segmenters that take words: names become embeddings by the bundle's own text engine."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...boundary.arguments import public
from ...errors import VocabularyError
from ...reporting import Reporter, silent
from ...words.vocabulary import Vocabulary, as_list, check_words, parse_classes
from ..base import Segmenter
from ..text_embedder import TextEmbedder


class WordedSegmenter(Segmenter):
    """A segmenter with an embedder of names; without one vocabularies come with their embeddings."""

    _embedder: TextEmbedder | None

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
        check_words(words)
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
