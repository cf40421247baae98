"""The page about recipes and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import inspect as kinds
from msgspec.structs import FieldInfo

from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.recipe.pipeline import Pipeline, StageUse
from ovdeploy.runtime.recipe.recipe import (
    ModelChoice,
    PresetNote,
    Recipe,
    Tolerances,
    available_recipes,
    load_recipe,
)

from .markdown import code, plain, prose, summary, table
from .pipelines import own_pipelines, package_summary
from .presets import preset_blocks
from .structs import Struct, default, described, fields_table, type_words

RECIPE: Mapping[Struct, str] = {
    Recipe: "Keys of the file",
    ModelChoice: "A model's table",
    Tolerances: "`[tolerances]`",
    Int8Settings: "`[int8]`",
    PresetNote: "`[preset]`",
}
"""Of the page about recipes, with their headings."""

IN_THE_FILE: Mapping[str, Sequence[str]] = {
    "name": ("`name`", "string", "the file's"),
    "models": ("`[ROLE]`", "[a model's table](#a-models-table)", "none"),
    "parameters": ("`[parameters]`", "the pipeline's table", "the pipeline's"),
    "tolerances": ("`[tolerances]`", "[a table](#tolerances)", "its own"),
    "int8": ("`[int8]`", "[a table](#int8)", "its own"),
    "preset": ("`[preset]`", "[a table](#preset)", "none"),
}
"""Keys of a recipe that look otherwise in the file than in the struct: key, type and default."""


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
