"""Recipes: which models, which method, which parameters. TOML, strictly validated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import msgspec

from ..boundary.arguments import public
from ..boundary.reading import is_there
from ..boundary.shipped import RECIPES, shipped
from ..errors import RecipeError, VocabularyError, one_of, warn
from ..geometry.limits import BLOCKS, LARGEST
from ..toml import read_toml
from ..words.vocabulary import parse_classes
from .int8 import Int8Settings
from .registry import pipeline_named

if TYPE_CHECKING:
    from .pipeline import Pipeline, StageUse

TRAINING_FREE = "training-free"
"""The pipeline of a recipe that names none."""

Tolerance = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)]


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A foundation model and where its weights come from unless the command line says otherwise."""

    model: str
    """The model's name in open_clip, timm, segment_anything or here; or `tiny`, `micro`."""
    pretrained: str | None = None
    """The tag that weights = "pretrained" stands for, in the library's own words."""
    weights: str = "pretrained"
    """`pretrained`, `package` (of the model `tiny`), `random:SEED`, or the path of a checkpoint."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=BLOCKS)] | None = None
    """Keep only the last blocks of the transformers, so many. For trying out large models with random weights."""


class Tolerances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tolerances of `ovdeploy parity`. Relative errors are norms of differences over norms."""

    relative: Tolerance = 1e-4
    """Of every output that is a smooth function of its input."""
    thresholded_features: Tolerance = 1e-3
    """Of features behind the similarity's threshold: single entries may fall on its other side."""
    thresholded_affinity: Tolerance = 5e-3
    """Of the affinity, which consists of thresholded entries."""
    labels: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.999
    """Share of pixels on which two masks must agree."""
    prompted_masks: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9995
    """Share of pixels on which an interactive mask must agree with SamPredictor's."""
    prompted_iou: Tolerance = 1e-3
    """How far interactive IoU estimates may be from SamPredictor's."""
    half_cosine: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.999
    """Least cosine of every output of an engine in half precision."""
    half_relative: Tolerance = 0.045
    """Of every output of an engine in half precision. √(2 · (1 − 0.999)): a cosine does not see a wrong scale."""
    half_labels: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.99
    """Share of pixels on which two masks must agree when the engines are in half precision."""
    int8_cosine: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.97
    """Least cosine of every output of an INT8 engine."""
    int8_relative: Tolerance = 0.25
    """Of every output of an INT8 engine. √(2 · (1 − 0.97)), as for half precision."""
    int8_labels: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    """Share of pixels on which two masks must agree when the engines are INT8."""


class PresetNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which benchmark's settings a recipe has, and where they come from."""

    name: str
    """The benchmark."""
    source: str
    """Where the settings were published."""
    assumed: tuple[str, ...] = ()
    """Parameters whose published value was not found."""
    left_out: str = ""
    """Steps that the source takes and this package does not."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recipe, from which `export-engines` builds a bundle.

    In the file, every model has a table of its own, named by its role: `[clip]`, `[dino]`, `[sam]`, …
    """

    name: str
    """Its name in bundles and messages."""
    description: str = ""
    """A line for people."""
    pipeline: str = TRAINING_FREE
    """The family that it belongs to: an entry point of `ovdeploy.pipelines`."""
    method: str = ""
    """A row of the methods table, in pipelines that have one."""
    models: dict[str, ModelChoice] = {}
    """The foundation models by role."""
    optional_stages: tuple[str, ...] = ()
    """Stages that photos do not need and that are exported too."""
    classes: tuple[str, ...] = ()
    """Classes to look for unless the user names others: one entry a class, synonyms separated by semicolons."""
    background: bool | None = None
    """Whether the first of these is the background; None means that it is if one of its synonyms is "background"."""
    preset: PresetNote | None = None
    """Set by `export-engines --preset`."""
    parameters: Any = msgspec.field(default_factory=dict)
    """The pipeline's own struct (`family.parameters`)."""
    tolerances: Tolerances = msgspec.field(default_factory=Tolerances)
    """The tolerances of `ovdeploy parity`."""
    int8: Int8Settings = msgspec.field(default_factory=Int8Settings)
    """The settings of `ovdeploy calibrate`."""

    @property
    def family(self) -> Pipeline:
        """The pipeline that it names."""
        return pipeline_named(self.pipeline)

    @property
    def uses(self) -> tuple[StageUse, ...]:
        """The stages that its models and its method allow, in running order; those that photos do not need last."""
        return tuple(use for use in self.family.stages if use.when(self))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that photos need, in running order."""
        return tuple(use.name for use in self.uses if not use.purpose)

    @property
    def running_stages(self) -> tuple[str, ...]:
        """Those of them that are open while photos run: all but the lazy ones."""
        return tuple(use.name for use in self.uses if not use.purpose and not use.lazy)

    @property
    def possible_stages(self) -> tuple[str, ...]:
        """Names of all stages that a bundle of it may hold."""
        return tuple(use.name for use in self.uses)

    @property
    def int8_stages(self) -> tuple[str, ...]:
        """The stages that a calibration tries to make INT8."""
        return self.int8.stages or tuple(use.name for use in self.uses if use.int8)

    @public()
    def override(self, overrides: Mapping[str, Any] | None) -> Any:
        """Its parameters with some values replaced.

        Raises:
            ParameterError: a name is unknown, a value cannot be had, or the parameter is baked with another value.
        """
        warn_of_unused(self, overrides or {})
        return self.family.override(self.parameters, overrides)


def warn_of_unused(recipe: Recipe, given: Iterable[str]) -> None:
    """Warn of parameters that were given and that a recipe's models do not use."""
    for name in sorted(recipe.family.unused(recipe).intersection(given)):
        warn(f"{name} is set, but the models of {recipe.name!r} do not use it; it changes nothing")


def available_recipes() -> dict[str, Path]:
    """The recipes that the package ships, by name."""
    return shipped(RECIPES)


@public()
def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by its name or from a TOML file of the user's.

    Raises:
        RecipeError: no such recipe, not TOML, or a key or value that does not belong there.
    """
    shipped = available_recipes()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not is_there(path):
        raise RecipeError(f"{one_of('recipe', str(name_or_path), shipped)} Or give the path of a TOML file.")
    data = read_toml(path, RecipeError, "the recipe")
    return recipe_from({"name": path.stem, **data}, str(path))


def recipe_from(data: Mapping[str, Any], where: str) -> Recipe:
    """Validate a recipe that has been read.

    Args:
        data: the tables and values of the TOML file.
        where: what to call it in messages.

    Raises:
        RecipeError: with the offending key and the valid ones.
    """
    try:
        family = pipeline_named(str(data.get("pipeline", TRAINING_FREE)))
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    tables = dict.fromkeys(family.roles, ModelChoice) | {"parameters": family.parameters}
    _refuse_unknown_keys(data, Recipe, where, tables)
    rest = {key: value for key, value in data.items() if key not in family.roles}
    try:
        models = {role: _model(role, data[role]) for role in family.roles if role in data}
        recipe = msgspec.convert({**rest, "models": models}, Recipe)
        given, recipe = recipe.parameters, with_typed_parameters(recipe)
        family.check(recipe)
        warn_of_unused(recipe, given if isinstance(given, Mapping) else ())
        recipe = with_optional(recipe, *recipe.optional_stages)
        if recipe.classes:
            parse_classes(recipe.classes)
    except (msgspec.ValidationError, RecipeError, VocabularyError) as error:
        raise RecipeError(f"{where}: {error}") from error
    return recipe


def _model(role: str, table: Any) -> ModelChoice:
    try:
        return msgspec.convert(table, ModelChoice)
    except msgspec.ValidationError as error:
        raise RecipeError(f"[{role}]: {error}") from error


def with_typed_parameters(recipe: Recipe) -> Recipe:
    """A recipe whose parameters are the pipeline's struct instead of plain values.

    Raises:
        RecipeError: there is no such pipeline.
        msgspec.ValidationError: a value is not of its type, or out of range.
    """
    family, given = recipe.family, recipe.parameters
    if not isinstance(given, family.parameters):
        given = msgspec.convert(given, dict[str, Any])
        given = msgspec.convert({**family.defaults(recipe), **given}, family.parameters)
    return msgspec.structs.replace(recipe, parameters=given)


def with_optional(recipe: Recipe, *stages: str) -> Recipe:
    """The recipe with optional stages beside those it asks for.

    Raises:
        RecipeError: there is no such stage, or the recipe's models do not allow it.
    """
    optional = {use.name: use for use in recipe.family.stages if use.purpose}
    for stage in stages:
        if stage not in optional:
            raise RecipeError(one_of("optional stage", stage, optional))
        if stage not in recipe.possible_stages:
            lacking = [role for role in optional[stage].roles if role not in recipe.models]
            needed = f"a [{'] and a ['.join(lacking)}] table with a model" if lacking else "other models than this has"
            raise RecipeError(f"the optional stage {stage} needs {needed}")
    return msgspec.structs.replace(recipe, optional_stages=tuple(dict.fromkeys((*recipe.optional_stages, *stages))))


def _refuse_unknown_keys(
    data: Mapping[str, Any],
    kind: type[msgspec.Struct],
    where: str,
    tables: Mapping[str, type[msgspec.Struct]] = MappingProxyType({}),
) -> None:
    """Answer a key that does not belong there with the likeliest and the valid ones.

    Args:
        data: what was read.
        kind: what it should be.
        where: what to call it.
        tables: what tables are whose type the kind does not tell.
    """
    hints = {**get_type_hints(kind), **tables}
    names = [name for name in (*kind.__struct_fields__, *tables) if name != "models" or not tables]
    for key, value in data.items():
        if key not in names:
            raise RecipeError(f"{where}: {one_of('key', key, dict.fromkeys(names))}")
        struct = _struct_in(hints[key])
        if struct and isinstance(value, Mapping):
            _refuse_unknown_keys(value, struct, f"{where} [{key}]")


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """The struct that a field's type is, alone or in a union with None."""
    candidates = (hint, *getattr(hint, "__args__", ()))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, msgspec.Struct)), None)
