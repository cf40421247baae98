"""Presets: the benchmarks' published settings, laid over a recipe. Data: `engines/presets/`, a file a source.

The classes are not here but in `engines/datasets/` (`runtime.datasets`), where evaluation reads them too.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from ..datasets import DatasetSpec, available_specs, load_spec
from ..errors import RecipeError, one_of
from ..toml import read_toml
from .recipe import PresetNote, Recipe


class Benchmark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one benchmark, beside those of all."""

    parameters: dict[str, Any] = {}
    words: dict[str, str] = {}
    """Words for a class that the source names otherwise: synonyms separated by semicolons."""
    assumed: tuple[str, ...] = ()
    """Parameters whose value was not found anywhere; the comment beside it says why it is what it is."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of `engines/presets/`: what one source says of the benchmarks."""

    source: str
    methods: tuple[str, ...] = ()
    """The methods that the source is about."""
    models: tuple[str, ...] = ()
    """The trained models that it is about, in pipelines without methods."""
    borrowed_by: tuple[str, ...] = ()
    """Methods or models without published settings, for which these are assumed."""
    left_out: str = ""
    """Steps that the source takes and this package does not."""
    parameters: dict[str, Any] = {}
    """For all benchmarks."""
    own_names: bool = False
    """Whether a class is asked about by its own name, and not by the words that training-free work has for it."""
    benchmarks: dict[str, Benchmark]
    """Those that the source tells of, by name."""

    @property
    def about(self) -> tuple[str, ...]:
        """The methods and models that have these settings."""
        return (*self.methods, *self.models, *self.borrowed_by)

    def entries(self, spec: DatasetSpec) -> tuple[str, ...]:
        """What a benchmark's classes are asked about as: one entry a class, as `Segmenter.vocabulary` takes them."""
        words = {**({} if self.own_names else spec.words), **self.benchmarks[spec.name].words}
        return tuple(words.get(name, name) for name in spec.classes)


def available_presets() -> tuple[str, ...]:
    """The benchmarks by name, as `engines/datasets/` has them."""
    return tuple(available_specs())


def with_preset(recipe: Recipe, name: str) -> Recipe:
    """A recipe with a benchmark's published settings, its classes, and a note of where they come from.

    Args:
        recipe: any recipe whose method, or trained model, has known settings.
        name: one of `available_presets()`.

    Raises:
        RecipeError: no such benchmark, no settings are known for the recipe, or none for this benchmark.
    """
    if name not in available_presets():
        raise RecipeError(one_of("preset", name, available_presets()))
    settings = settings_for(recipe)
    if name not in settings.benchmarks:
        raise RecipeError(
            f"no settings for {name} are published for {' and '.join(_subjects(recipe))}; there are for "
            f"{', '.join(sorted(settings.benchmarks))}. Without --preset, `ovdeploy evaluate` still takes its classes"
        )
    benchmark, spec = settings.benchmarks[name], load_spec(name)
    borrowed = not {*settings.borrowed_by}.isdisjoint(_subjects(recipe))
    note = PresetNote(
        name=name,
        source=settings.source,
        assumed=("everything",) if borrowed else benchmark.assumed,
        left_out=settings.left_out,
    )
    values = {**msgspec.structs.asdict(recipe.parameters), **settings.parameters, **benchmark.parameters}
    return msgspec.structs.replace(
        recipe,
        parameters=msgspec.convert(values, type(recipe.parameters)),
        classes=settings.entries(spec),
        background=spec.background,
        preset=note,
    )


def settings_for(recipe: Recipe) -> Settings:
    """The known settings of a recipe's method, or of its trained model, on the benchmarks.

    Raises:
        RecipeError: there are none.
    """
    known = {name: settings for settings in all_settings().values() for name in settings.about}
    subjects = [*_subjects(recipe)]
    for subject in subjects:
        if subject in known:
            return known[subject]
    kind = "method" if recipe.method else "models"
    raise RecipeError(
        f"there are no presets for the {kind} {', '.join(subjects)}; there are for {', '.join(sorted(known))}"
    )


def _subjects(recipe: Recipe) -> Iterator[str]:
    """What settings may be known for: the method; without one the models, of which one was trained for the task."""
    yield from [recipe.method] if recipe.method else (choice.model for choice in recipe.models.values())


def all_settings() -> dict[str, Settings]:
    """The files of `engines/presets/`, by name.

    Raises:
        RecipeError: one of them is not as it should be.
    """
    folder = Path(str(resources.files("ovdeploy.engines"))) / "presets"
    found = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            found[path.stem] = msgspec.convert(read_toml(path, RecipeError, "the preset"), Settings)
        except msgspec.ValidationError as error:
            raise RecipeError(f"{path}: {error}") from error
    return found
