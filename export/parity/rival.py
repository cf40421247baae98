"""The PyTorch reference as a rival of `ovdeploy evaluate --against torch`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.bundle.bundle import Bundle
from ...runtime.datasets.sample import Sample
from ...runtime.evaluation.predictors import Predicted, Predictor, Settings, Words, kinds, refines, things_to_dataset
from ...runtime.words.vocabulary import parse_classes
from ..models.extra import require_export_extra


@contextmanager
def torch_reference(settings: Settings) -> Iterator[Predictor]:
    """The reference with the weights of a bundle's export.

    Raises:
        MissingExtraError: PyTorch or one of its companions is not installed.
        WeightsError: the weights are not to be had, or are not those of the export.
    """
    yield TorchPredictor(Bundle.load(settings.bundle), load_reference(settings.bundle, settings.weights), settings)


def load_reference(path: Path, weights: Mapping[str, str] | None) -> Any:
    """The `Reference` that a bundle was exported from.

    Args:
        path: the bundle's folder.
        weights: where to take the models' weights from, by role; what is missing comes from where the export took it.

    Raises:
        MissingExtraError: PyTorch or one of its companions is not installed.
        WeightsError: the weights are not to be had, or are not those of the export.
    """
    require_export_extra()
    from ..reference.networks import Networks
    from .check import check_weights, weight_sources

    bundle = Bundle.load(path)
    networks = Networks.load(bundle.recipe, weight_sources(bundle, dict(weights or {})))
    check_weights(bundle, networks)
    return networks.family.reference(networks)


class TorchPredictor:
    """The reference: its own words' embeddings, its own masks."""

    def __init__(self, bundle: Bundle, reference: Any, settings: Settings) -> None:
        assert bundle.manifest.text is not None, "what is evaluated takes words"
        networks = reference.networks
        self._reference = reference
        self._parameters = settings.parameters
        self.identity = {"weights": {role: each.sha256 for role, each in networks.provenance.items()}}
        templates = settings.templates or bundle.manifest.text.templates

        def embed(entries: Sequence[str]) -> np.ndarray:
            words = [word for synonyms in parse_classes(entries) for word in synonyms]
            return np.stack([networks.family.embed_word(networks, bundle, word, templates) for word in words])

        self._words = Words(settings.dataset, embed, bundle.recipe)

    def predict(self, sample: Sample) -> Predicted:
        """`refined` where the recipe or an override says so, and `coarse`; things, if its pipeline finds them."""
        vocabulary = self._words.given(sample)
        trace = self._reference.segment(sample.photo, vocabulary, parameters=self._parameters)
        assert trace.mask is not None and trace.coarse is not None
        things = trace.things()
        masks = kinds(trace.mask, trace.coarse, refines(trace.settings), sample)
        return Predicted(masks, None if things is None else things_to_dataset(things, sample))
