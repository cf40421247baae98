"""Writes the pages that are made from the code: `docs/bundle-format.md` and `docs/recipes.md`.

`python docs/generate.py` writes them, `--check` exits with 1 if one of them is stale. It imports `ovdeploy.runtime`
alone, so it needs neither PyTorch nor an inference engine.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as kinds
from msgspec.structs import FieldInfo

from ovdeploy.runtime.bundle import migration
from ovdeploy.runtime.bundle.bundle import Manifest, Provenance, TextAssets
from ovdeploy.runtime.bundle.calibration import Calibration, GateReport, LayerReport, StageReport
from ovdeploy.runtime.bundle.entries import EngineEntry, FileEntry, PlanEntry, StageEntry
from ovdeploy.runtime.datasets import available_specs, load_spec
from ovdeploy.runtime.geometry.dimensions import Dimensions, SamDimensions
from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.recipe.pipeline import Pipeline, StageUse
from ovdeploy.runtime.recipe.presets import Settings, all_settings
from ovdeploy.runtime.recipe.recipe import (
    TRAINING_FREE,
    ModelChoice,
    PresetNote,
    Recipe,
    Tolerances,
    available_recipes,
    load_recipe,
)
from ovdeploy.runtime.recipe.registry import PIPELINES
from ovdeploy.runtime.stage.census import Census
from ovdeploy.runtime.stage.contract import Axis, StageContract, TensorSpec

DOCS = Path(__file__).resolve().parent
NOTICE = "<!-- Made by `python docs/generate.py` from the code's docstrings: change those, then run it again. -->"
WIDTH = 120

Struct = type[msgspec.Struct]

MANIFEST: tuple[Struct, ...] = (
    Manifest, TextAssets, Provenance, StageEntry, EngineEntry, PlanEntry, FileEntry, StageContract, TensorSpec, Axis,
    Census, Calibration, StageReport, LayerReport, GateReport, Dimensions, SamDimensions,
)  # fmt: skip
"""In the order in which the page about bundles shows them."""

RECIPE: Mapping[Struct, str] = {
    Recipe: "Keys of the file",
    ModelChoice: "A model's table",
    Tolerances: "`[tolerances]`",
    Int8Settings: "`[int8]`",
    PresetNote: "`[preset]`",
}
"""Of the page about recipes, with their headings."""

LINKS: Mapping[Struct, str] = {
    **{kind: f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in MANIFEST},
    Recipe: "[Recipe](recipes.md#keys-of-the-file)",
    ModelChoice: "[a model's table](#a-models-table)",
    Tolerances: "[tolerances](#tolerances)",
    Int8Settings: "[settings](recipes.md#int8)",
    PresetNote: "[preset](#preset)",
}


IN_THE_FILE: Mapping[str, Sequence[str]] = {
    "name": ("`name`", "string", "the file's"),
    "models": ("`[ROLE]`", "[a model's table](#a-models-table)", "none"),
    "parameters": ("`[parameters]`", "the pipeline's table", "the pipeline's"),
    "tolerances": ("`[tolerances]`", "[a table](#tolerances)", "its own"),
    "int8": ("`[int8]`", "[a table](#int8)", "its own"),
    "preset": ("`[preset]`", "[a table](#preset)", "none"),
}
"""Keys of a recipe that look otherwise in the file than in the struct: key, type and default."""


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Writes the pages that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    check = parser.parse_args().check
    old = stale()
    for path in old:
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
        print(f"docs/{path.name} {'is stale: run python docs/generate.py' if check else 'written'}")
    sys.exit(1 if check and old else 0)


def stale() -> list[Path]:
    """The pages whose file is missing, or is not what would be written now."""
    return [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


@cache
def pages() -> Mapping[Path, str]:
    """The text of every page that is made here."""
    made: Mapping[str, Callable[[], Iterator[str]]] = {"bundle-format.md": bundle_page, "recipes.md": recipes_page}
    return {DOCS / name: "\n\n".join([NOTICE, *make()]) + "\n" for name, make in made.items()}


# Structs


def described(kind: Struct, name: str) -> str:
    """The docstring behind a field; empty without one."""
    return attribute_docs(kind).get(name, "")


@cache
def attribute_docs(kind: Struct) -> Mapping[str, str]:
    """The docstrings behind a struct's fields, inherited ones included, each on one line."""
    docs: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each is msgspec.Struct or not issubclass(each, msgspec.Struct):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, behind in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(behind, ast.Expr):
                docs[field.target.id] = " ".join(ast.literal_eval(behind.value).split())
    return docs


def type_words(kind: kinds.Type) -> str:
    """A type, in words."""
    if isinstance(kind, kinds.Metadata):
        return type_words(kind.type)
    if isinstance(kind, (kinds.IntType, kinds.FloatType)):
        return " ".join(filter(None, ["integer" if isinstance(kind, kinds.IntType) else "number", bounds(kind)]))
    if isinstance(kind, (kinds.VarTupleType, kinds.ListType)):
        return f"list of {type_words(kind.item_type)}" + (", not empty" if kind.min_length else "")
    if isinstance(kind, kinds.TupleType):
        return f"[{', '.join(type_words(item) for item in kind.item_types)}]"
    if isinstance(kind, kinds.DictType):
        return f"map to {type_words(kind.value_type)}" + (", not empty" if kind.min_length else "")
    if isinstance(kind, kinds.LiteralType):
        return " or ".join(value(each) for each in kind.values)
    if isinstance(kind, kinds.UnionType):
        return " or ".join(type_words(each) for each in kind.types)
    if isinstance(kind, kinds.StructType):
        return LINKS[kind.cls]
    return {kinds.StrType: "string", kinds.BoolType: "boolean", kinds.NoneType: "null", kinds.AnyType: "map"}[
        type(kind)
    ]


def bounds(kind: kinds.IntType | kinds.FloatType) -> str:
    """ "0 to 1", "≥ 1", "> 0, ≤ 1"."""
    if kind.ge is not None and kind.le is not None:
        return f"{number(kind.ge)} to {number(kind.le)}"
    limits = {">": kind.gt, "≥": kind.ge, "<": kind.lt, "≤": kind.le}
    return ", ".join(f"{sign} {number(limit)}" for sign, limit in limits.items() if limit is not None)


def number(limit: float) -> str:
    """1e9 instead of 1000000000.0."""
    return f"{limit:g}".replace("e+0", "e").replace("-", "−")


def value(of: Any) -> str:
    """A value as code, in TOML's way of writing it and JSON's; long integers in groups of three digits."""
    if isinstance(of, int) and abs(of) > 9999:
        return f"`{of:_}`"
    return f"`{json.dumps(msgspec.to_builtins(of), ensure_ascii=False)}`"


def default(field: FieldInfo, nothing: str = "`null`") -> str:
    """A field's default; `nothing` stands for None."""
    if field.required:
        return "required"
    made = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(made, msgspec.Struct):
        return "its own defaults"
    return nothing if made is None else value(made)


def fields_table(kind: Struct, *, nothing: str = "`null`", told: Mapping[str, Sequence[str]] | None = None) -> str:
    """Key, type, default and meaning of every field; `told` replaces the first three where a file differs."""
    rows = {
        field.name: (f"`{field.name}`", type_words(kinds.type_info(field.type)), default(field, nothing))
        for field in msgspec.structs.fields(kind)
    }
    cells = {**rows, **(told or {})}
    return table(("key", "type", "default", "meaning"), ((*cells[name], described(kind, name)) for name in rows))


# Markdown


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; pipes in cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "&#124;") for cell in line) + " |" for line in lines)


def prose(text: str) -> str:
    """A paragraph, wrapped like those that are written by hand."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def items(*texts: str) -> str:
    """A list."""
    return "\n".join(textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ") for text in texts)


def plain(text: str) -> str:
    """Text that is data: an asterisk in it is one."""
    return text.replace("*", r"\*")


def summary(of: Any) -> str:
    """A docstring up to its arguments and errors."""
    return re.split(r"\n\s*(?:Attributes|Args|Raises|Returns):\n", inspect.getdoc(of) or "")[0].strip()


def code(names: Iterable[str], nothing: str = "") -> str:
    """Names as code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names) or nothing


# The page about bundles


def bundle_page() -> Iterator[str]:
    """The page about bundles, block by block."""
    yield "# Bundle format"
    yield prose(
        """A bundle is a folder. `export-engines` writes it on the build box; `calibrate` and `build-plans` write to it
        too. It may be copied anywhere, and no path of a machine is in it."""
    )
    yield table(
        ("file", "what it is"),
        (
            ("`bundle.json`", "the manifest: all that this page describes"),
            ("`STAGE.PRECISION.onnx`", "a stage's graph in one precision"),
            ("`STAGE.PRECISION.onnx.data`", "its weights, where the graph would pass 2 GB with them"),
            ("`STAGE.PRECISION.….plan`", "a TensorRT plan; its name says which graph, GPU and TensorRT it belongs to"),
            ("`tokenizer.json`", "CLIP's tokenizer, for pipelines that take words"),
        ),
    )
    yield prose(
        """Other files may lie beside these, such as TensorRT's timing caches and `islands.PRECISION.toml`. No engine is
        opened from a file that the manifest does not name."""
    )
    yield "## What a reader checks"
    yield items(
        "The version comes first. An older manifest is [brought to today's](#history-of-the-schema) in memory, a later "
        "one is refused with what to do.",
        "Types are strict, and unknown keys are refused.",
        "Every path lies in the folder, also after links are followed.",
        "A file's size and SHA-256 are compared with the manifest before it is opened.",
        "An engine has the precision that it goes by, as its census says. Where the package `onnx` is installed, the "
        "graph is counted again.",
    )
    yield prose(
        """In the tables below, *map* stands for a JSON object whose keys are strings. `Bundle.load` reads a manifest,
        `write_manifest` writes one."""
    )
    sizes = " or ".join(LINKS[pipeline.sizes] for pipeline in own_pipelines())
    for kind in MANIFEST:
        yield f"## {kind.__name__}"
        yield prose(summary(kind))
        if kind.__struct_config__.omit_defaults:
            yield "Keys that have their default are left out of the file."
        yield fields_table(kind, told={"dimensions": ("`dimensions`", sizes, "required")})
    yield "## History of the schema"
    yield prose(
        f"""This page describes version {migration.SCHEMA_VERSION}. `runtime/bundle/migration.py` has a step from each
        version to the next. [Contributing](contributing.md#the-bundle-format) says when the version changes."""
    )
    yield table(("version", "what it has"), history())


def history() -> list[tuple[str, str]]:
    """The versions, and what the module of migrations says of each."""
    text = " ".join(inspect.cleandoc(migration.__doc__ or "").split("\n\n", 1)[1].split())
    parts = re.split(r"(?:^| )(\d+)\. (?=[A-Z])", text)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


# The page about recipes


def recipes_page() -> Iterator[str]:
    """The page about recipes, block by block."""
    yield "# Recipes and parameters"
    yield prose(
        """A recipe is a TOML file that says what a bundle is built from: a pipeline, its models, its parameters.
        `export-engines` takes [one of the package](#recipes-in-the-package) by its name, or the path of yours. An
        unknown key is answered with the valid ones. [Start](start.md#recipes) shows a whole recipe."""
    )
    for kind, heading in RECIPE.items():
        if kind is not PresetNote:
            yield f"## {heading}"
            yield prose(summary(kind))
            yield fields_table(kind, nothing="none", told=IN_THE_FILE if kind is Recipe else None)
    for pipeline in own_pipelines():
        yield from pipeline_blocks(pipeline)
    yield "## Recipes in the package"
    yield table(("recipe", "pipeline", "method", "models", "description"), map(recipe_row, available_recipes()))
    yield from preset_blocks()


def own_pipelines() -> list[Pipeline]:
    """The pipelines that this package declares, whatever others are installed; the default first."""
    points = distribution("ovdeploy").entry_points.select(group=PIPELINES)
    return [point.load() for point in sorted(points, key=lambda point: (point.name != TRAINING_FREE, point.name))]


def pipeline_blocks(pipeline: Pipeline) -> Iterator[str]:
    """A pipeline's stages and parameters."""
    yield f"## The pipeline `{pipeline.name}`"
    yield prose(
        f"{package_summary(pipeline)} Its bundles are opened as {code(k.__name__ for k in pipeline.interfaces)}."
    )
    if summary(pipeline.check):
        yield prose(summary(pipeline.check))
    yield f"### Stages of `{pipeline.name}`"
    yield table(
        ("stage", "weights of", "takes outputs of", "baked parameters", "notes"), map(stage_row, pipeline.stages)
    )
    yield f"### Parameters of `{pipeline.name}`"
    yield prose(
        f"""{summary(pipeline.parameters)} A recipe sets them in its table `[parameters]`. What is not baked may be
        overridden when a bundle is opened, and at every call; what is baked is fixed by the export of the stages named,
        for the reason given."""
    )
    depending = depends_on_recipe(pipeline)
    if depending:
        yield prose(f"The default of {code(depending)} depends on the recipe. {summary(pipeline.defaults)}")
    rows = (parameter_row(pipeline, field, depending) for field in msgspec.structs.fields(pipeline.parameters))
    yield table(("parameter", "type", "default", "meaning", "baked"), rows)


def package_summary(pipeline: Pipeline) -> str:
    """The first sentence of the package that declares a pipeline."""
    (point,) = distribution("ovdeploy").entry_points.select(group=PIPELINES, name=pipeline.name)
    return summary(importlib.import_module(point.module.rpartition(".")[0]))


def stage_row(stage: StageUse) -> tuple[str, ...]:
    """A stage's row."""
    notes = [
        f"optional, for {stage.purpose}" if stage.purpose else "",
        "opened when first needed; a bundle may do without it" if stage.lazy else "",
        "`calibrate` tries INT8" if stage.int8 else "",
        *(f"`{output}` is held to the tolerance `{key}`" for output, key in stage.loose.items()),
    ]
    return f"`{stage.name}`", code(stage.roles), code(stage.after), code(stage.baked), "; ".join(filter(None, notes))


def parameter_row(pipeline: Pipeline, field: FieldInfo, depending: Sequence[str]) -> tuple[str, ...]:
    """A parameter's row."""
    stages = [stage for stage in pipeline.stages if field.name in stage.baked]
    reasons = dict.fromkeys(stage.baked[field.name] for stage in stages)
    baked = f"{code(stage.name for stage in stages)}: {'; '.join(reasons)}" if stages else ""
    meaning = described(pipeline.parameters, field.name)
    return (
        f"`{field.name}`",
        type_words(kinds.type_info(field.type)),
        "depends" if field.name in depending else default(field, "none"),
        meaning.removesuffix(" Baked.") if baked else meaning,
        baked,
    )


def depends_on_recipe(pipeline: Pipeline) -> tuple[str, ...]:
    """Parameters whose default the pipeline sets for a recipe."""
    recipes = [recipe for recipe in map(load_recipe, available_recipes()) if recipe.pipeline == pipeline.name]
    return tuple(sorted({name for recipe in recipes for name in pipeline.defaults(recipe)}))


def recipe_row(name: str) -> tuple[str, ...]:
    """A shipped recipe's row."""
    recipe = load_recipe(name)
    models = "; ".join(f"`{role}`: {choice.model}" for role, choice in recipe.models.items())
    method = f"`{recipe.method}`" if recipe.method else ""
    return f"`{name}`", f"`{recipe.pipeline}`", method, models, plain(recipe.description)


def preset_blocks() -> Iterator[str]:
    """The benchmarks, and what each source says of them."""
    yield "## Presets"
    yield prose(
        """`export-engines RECIPE --preset NAME` lays a benchmark's published settings over a recipe, and its classes,
        background included. The words for the classes are those that [`ovdeploy evaluate`](accuracy.md) takes. They
        lie in `engines/datasets/`, the settings in `engines/presets/`, a file for each source."""
    )
    specs = {name: load_spec(name) for name in available_specs()}
    rows = ((f"`{n}`", s.title, str(len(s.classes)), "class 0" if s.background else "none") for n, s in specs.items())
    yield table(("preset", "benchmark", "classes", "background"), rows)
    for name, settings in all_settings().items():
        yield f"### Settings of `{name}`"
        borrowed = f" Assumed for methods that publish none: {code(settings.borrowed_by)}."
        left_out = f" Left out: {plain(settings.left_out)}."
        yield prose(
            f"For {code(settings.methods)}. Source: {plain(settings.source)}."
            f"{borrowed if settings.borrowed_by else ''}{left_out if settings.left_out else ''}"
        )
        yield table(("preset", "parameters", "published nowhere that we found"), benchmark_rows(settings))
    yield f"### {RECIPE[PresetNote]}"
    yield prose(
        f"{summary(PresetNote)} A recipe has this table once `--preset` was used; a bundle's manifest shows it."
    )
    yield fields_table(PresetNote, nothing="none")


def benchmark_rows(settings: Settings) -> Iterator[tuple[str, ...]]:
    """The settings of all of a source's benchmarks, then of each, in alphabetical order."""
    yield "all", settings_of(settings.parameters), ""
    for name, benchmark in sorted(settings.benchmarks.items()):
        yield f"`{name}`", settings_of(benchmark.parameters), code(benchmark.assumed)


def settings_of(parameters: Mapping[str, Any]) -> str:
    """Parameters and their values."""
    return ", ".join(f"`{name} = {value(setting).strip('`')}`" for name, setting in parameters.items())


if __name__ == "__main__":
    main()
