"""Predictors: anything that turns a sample into masks. Here a bundle's engines; others come as rivals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from ..answers.instance import Instance
from ..bundle.bundle import MANIFEST
from ..bundle.places import place_of
from ..datasets.sample import Dataset, Sample
from ..datasets.spec import available_specs, load_spec
from ..pipelines.base import Segmenter
from ..recipe.recipe import Recipe
from ..words.vocabulary import Vocabulary

RIVALS = "ovdeploy.rivals"
"""Entry-point group of what a bundle can be compared with.

A rival is called with `Settings` and gives a context manager over a `Predictor`. It is imported when it is asked for:
one may need PyTorch, and the runtime need not know.
"""


KINDS = ("refined", "coarse")
"""The masks that a pipeline gives, the one that counts first."""


class Predicted(NamedTuple):
    """What is said of a sample."""

    masks: dict[str, np.ndarray]
    """[H, W] class index by the mask's kind (`refined`, `coarse`, …), the one that counts first."""
    things: Sequence[Instance] | None = None
    """Single things with scores, of the dataset's classes; None of what finds none."""


class Predictor(Protocol):
    """Turns samples into masks, and maybe single things."""

    identity: dict[str, Any]
    """Plain values that differ where the masks may; never a path."""

    def predict(self, sample: Sample) -> Predicted:
        """What it says of a sample."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a bundle is run, and on what."""

    bundle: Path
    dataset: Dataset
    backend: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    parameters: Mapping[str, Any] | None = None
    templates: tuple[str, ...] | None = None
    weights: Mapping[str, str] | None = None
    """Where a reference takes the models' weights from, by role; for bundles made from files."""


Rival = Callable[[Settings], AbstractContextManager[Predictor]]


class Words:
    """A dataset's vocabulary, embedded once, and the parts of it that single photos are given."""

    def __init__(
        self, dataset: Dataset, embed: Callable[[Sequence[str]], np.ndarray], recipe: Recipe | None = None
    ) -> None:
        """Embed all words.

        Args:
            dataset: names the classes.
            embed: entries as `Segmenter.vocabulary` takes them to embeddings [Q, E].
            recipe: of what is asked. A preset's words for this benchmark are asked about in place of the dataset's.
        """
        self._background = dataset.background
        entries = entries_for(dataset, recipe)
        self._all = Vocabulary(entries, embed(entries), background=dataset.background)
        self._parts: dict[tuple[int, ...], Vocabulary] = {}

    def given(self, sample: Sample) -> Vocabulary:
        """The vocabulary of the names that a sample is given, in the dataset's order."""
        if sample.given is None:
            return self._all
        if sample.given not in self._parts:
            self._parts = {sample.given: self._part(sample.given)}  # the last one is enough: photos come one by one
        return self._parts[sample.given]

    def _part(self, given: tuple[int, ...]) -> Vocabulary:
        entries = ["; ".join(self._all.synonyms[index]) for index in given]
        starts = [*self._all.query_starts, len(self._all.embeddings)]
        rows = [self._all.embeddings[starts[index] : starts[index + 1]] for index in given]
        return Vocabulary(entries, np.concatenate(rows), background=self._background and 0 in given)


def entries_for(dataset: Dataset, recipe: Recipe | None) -> Sequence[str]:
    """A dataset's entries, or those of a recipe with the preset of this benchmark: authors differ in their words."""
    preset = recipe.preset if recipe else None
    if recipe and preset and preset.name in available_specs() and load_spec(preset.name).classes == dataset.classes:
        return recipe.classes
    return dataset.entries


def to_dataset(mask: np.ndarray, sample: Sample) -> np.ndarray:
    """A mask over the names given, as one over the dataset's classes: [H, W] uint16."""
    if sample.given is None:
        return mask.astype(np.uint16)
    indices: np.ndarray = np.asarray(sample.given, np.uint16)[mask]
    return indices


def things_to_dataset(things: Sequence[Instance], sample: Sample) -> tuple[Instance, ...]:
    """Instances of the names given, as those of the dataset's classes."""
    given = sample.given
    return tuple(things if given is None else (replace(each, class_index=given[each.class_index]) for each in things))


def kinds(mask: np.ndarray, coarse: np.ndarray, refined: bool, sample: Sample) -> dict[str, np.ndarray]:
    """The masks of a pipeline by kind: `refined` first where there was refinement, `coarse`."""
    found = dict(zip(KINDS, (mask, coarse), strict=True))
    return {kind: to_dataset(found[kind], sample) for kind in KINDS[not refined :]}


def refines(parameters: Any) -> bool:
    """Whether parameters ask for refinement; those of pipelines that cannot refine do not."""
    return bool(getattr(parameters, "refine", False))


class BundlePredictor:
    """A bundle's engines."""

    def __init__(self, segmenter: Segmenter, settings: Settings) -> None:
        def embed(entries: Sequence[str]) -> np.ndarray:
            return segmenter.vocabulary(entries, templates=settings.templates).embeddings

        self._segmenter = segmenter
        self._things = segmenter.manifest.recipe.family.things
        self._words = Words(settings.dataset, embed, segmenter.manifest.recipe)
        self.identity = {
            "bundle": hashlib.sha256((settings.bundle / MANIFEST).read_bytes()).hexdigest(),
            "backend": segmenter.backend,
            "precision": segmenter.precision,
            "parameters": msgspec.structs.asdict(segmenter.parameters),
            "templates": settings.templates,
        }

    def predict(self, sample: Sample) -> Predicted:
        """`refined` where the recipe or an override says so, and `coarse`; things, if its pipeline finds them."""
        result = self._segmenter.segment(sample.photo, self._words.given(sample))
        masks = kinds(result.mask, result.coarse_mask, refines(self._segmenter.parameters), sample)
        return Predicted(masks, things_to_dataset(result.instances(), sample) if self._things else None)


@contextmanager
def open_bundle(settings: Settings) -> Iterator[Predictor]:
    """A bundle as a predictor.

    Raises:
        BundleError: it is missing, damaged or lacks a stage.
        ParameterError: an override cannot be used.
    """
    with Segmenter.load(
        settings.bundle,
        backend=settings.backend,
        precision=settings.precision,
        parameters=settings.parameters,
        threads=settings.threads,
    ) as segmenter:
        yield BundlePredictor(segmenter, settings)


def find_rival(name: str) -> Rival:
    """A rival by its name, or a bundle by its folder, or by FOLDER@PRECISION. Nothing is loaded yet.

    A bundle is run with the settings of the one that is measured, but for the precision if one is named.

    Raises:
        ParameterError: it is none of these.
    """
    known = {point.name: point for point in entry_points(group=RIVALS)}
    if name in known:
        rival: Rival = known[name].load()
        return rival
    place = place_of(name, known)
    return lambda settings: open_bundle(
        replace(settings, bundle=place.folder, precision=place.precision or settings.precision)
    )
