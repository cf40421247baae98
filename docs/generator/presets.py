"""The part of the page about recipes that shows the presets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ovdeploy.runtime.datasets import available_specs, load_spec
from ovdeploy.runtime.recipe.presets import Settings, all_settings
from ovdeploy.runtime.recipe.recipe import PresetNote

from .markdown import code, plain, prose, summary, table
from .structs import fields_table, value


def preset_blocks() -> Iterator[str]:
    """The benchmarks, and what each source says of them."""
    yield "## Presets"
    yield prose(
        """`export-engines RECIPE --preset NAME` lays a benchmark's published settings over a recipe, and its classes,
        background included. The words for the classes are those that [`ovdeploy evaluate`](accuracy.md) takes, from
        `engines/datasets/`, unless a source has its own; `evaluate` then takes these with the bundle. The settings lie
        in `engines/presets/`, a file for each source. A benchmark that a source does not tell of is refused."""
    )
    specs = {name: load_spec(name) for name in available_specs()}
    rows = ((f"`{n}`", s.title, str(len(s.classes)), "class 0" if s.background else "none") for n, s in specs.items())
    yield table(("preset", "benchmark", "classes", "background"), rows)
    for name, settings in all_settings().items():
        yield f"### Settings of `{name}`"
        borrowed = f" Assumed for those that publish none: {code(settings.borrowed_by)}."
        left_out = f" Left out: {plain(settings.left_out)}."
        yield prose(
            f"For {code((*settings.methods, *settings.models))}. Source: {plain(settings.source)}."
            f"{borrowed if settings.borrowed_by else ''}{left_out if settings.left_out else ''}{words_of(settings)}"
        )
        yield table(("preset", "parameters", "published nowhere that we found"), benchmark_rows(settings))
    yield "### `[preset]`"
    yield prose(
        f"{summary(PresetNote)} A recipe has this table once `--preset` was used; a bundle's manifest shows it."
    )
    yield fields_table(PresetNote, nothing="none")


def words_of(settings: Settings) -> str:
    """Whose words are taken, where they are not those of training-free work."""
    if not settings.own_names:
        return ""
    changed = (
        f"{code([of])} of `{name}` as {words.replace('; ', ', ')}"
        for name, benchmark in sorted(settings.benchmarks.items())
        for of, words in benchmark.words.items()
    )
    return f" Classes are asked about by their own names, but {'; '.join(changed)}."


def benchmark_rows(settings: Settings) -> Iterator[tuple[str, ...]]:
    """The settings of all of a source's benchmarks, then of each, in alphabetical order."""
    yield "all", settings_of(settings.parameters), ""
    for name, benchmark in sorted(settings.benchmarks.items()):
        yield f"`{name}`", settings_of(benchmark.parameters), code(benchmark.assumed)


def settings_of(parameters: Mapping[str, Any]) -> str:
    """Parameters and their values."""
    return ", ".join(f"`{name} = {value(setting).strip('`')}`" for name, setting in parameters.items())
