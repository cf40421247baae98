"""Presets: the benchmarks' published settings, laid over a method's recipe. Data: `engines/presets/`, a file a source.

The class lists are not here but in `engines/datasets/` (`runtime.datasets`), where evaluation reads them too.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..datasets import available_specs, load_spec
from ..errors import RecipeError, one_of
from ..toml import read_toml
from .recipe import PresetNote, Recipe


class Benchmark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one benchmark, beside those of all."""

    parameters: dict[str, Any] = {}
    assumed: tuple[str, ...] = ()
    """Parameters whose value was not found anywhere; the comment beside it says why it is what it is."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of `engines/presets/`: what one source says of the benchmarks."""

    source: str
    methods: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """The methods that the source is about."""
    borrowed_by: tuple[str, ...] = ()
    """Methods without published settings, for which these are assumed."""
    left_out: str = ""
    """Steps that the source takes and this package does not."""
    parameters: dict[str, Any] = {}
    """For all benchmarks."""
    benchmarks: dict[str, Benchmark]


def available_presets() -> tuple[str, ...]:
    """The benchmarks by name, as `engines/datasets/` has them."""
    return tuple(available_specs())


def with_preset(recipe: Recipe, name: str) -> Recipe:
    """A recipe with a benchmark's published settings, its classes, and a note of where they come from.

    Args:
        recipe: any recipe of a method whose settings are known.
        name: one of `available_presets()`.

    Raises:
        RecipeError: no such benchmark, or no settings are known for the recipe's method.
    """
    if name not in available_presets():
        raise RecipeError(one_of("preset", name, available_presets()))
    settings = settings_for(recipe.method)
    benchmark = settings.benchmarks[name]
    spec = load_spec(name)
    borrowed = recipe.method in settings.borrowed_by
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
        classes=spec.entries,
        background=spec.background,
        preset=note,
    )


def settings_for(method: str) -> Settings:
    """The known settings of a method on the benchmarks.

    Raises:
        RecipeError: there are none.
    """
    known: dict[str, Settings] = {}
    for settings in all_settings().values():
        known |= dict.fromkeys((*settings.methods, *settings.borrowed_by), settings)
    if method not in known:
        raise RecipeError(f"there are no presets for the method {method!r}; there are for {', '.join(sorted(known))}")
    return known[method]


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
