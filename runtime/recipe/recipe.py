"""Recipes: which models, which method, which parameters. TOML, strictly validated."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec

from ..errors import RecipeError, VocabularyError, one_of
from ..pipelines.training_free.methods import Method, method_named
from ..toml import read_toml
from ..words.vocabulary import parse_classes
from .int8 import Int8Settings
from .optional import OPTIONAL, optional_stages
from .parameters import Parameters

Tolerance = Annotated[float, msgspec.Meta(gt=0)]


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A foundation model and where its weights come from unless the command line says otherwise."""

    model: str
    """The model's name in open_clip, timm or segment_anything; or `tiny`, `micro`."""
    pretrained: str | None = None
    """The tag that weights = "pretrained" stands for, in the library's own words."""
    weights: str = "pretrained"
    """`pretrained`, `package` (of the model `tiny`), `random:SEED`, or the path of a checkpoint."""
    depth: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Keep only the last blocks of the transformers, so many. For trying out large models with random weights."""


class Tolerances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `ovdeploy parity` accepts. Relative errors are norms of differences over norms."""

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
    source: str
    assumed: tuple[str, ...] = ()
    """Parameters whose published value was not found."""
    left_out: str = ""
    """What the source does beside, and this package does not."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `export-engines` builds a bundle from."""

    name: str
    description: str = ""
    method: str
    clip: ModelChoice
    dino: ModelChoice | None = None
    sam: ModelChoice | None = None
    optional_stages: tuple[str, ...] = ()
    """Stages beside the pipeline's that are exported too (`runtime.optional`)."""
    classes: tuple[str, ...] = ()
    """What is looked for unless the user names classes: one entry a class, synonyms separated by semicolons."""
    background: bool | None = None
    """Whether the first of these is the background; None means that it is if one of its synonyms is "background"."""
    preset: PresetNote | None = None
    """Set by `export-engines --preset`."""
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    tolerances: Tolerances = msgspec.field(default_factory=Tolerances)
    int8: Int8Settings = msgspec.field(default_factory=Int8Settings)

    @property
    def row(self) -> Method:
        """The row of the methods table that this recipe names."""
        return method_named(self.method)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of the pipeline, in running order."""
        return self.row.stages(with_sam=self.sam is not None)

    @property
    def possible_stages(self) -> tuple[str, ...]:
        """The pipeline's stages, then all optional ones that these models allow."""
        return (*self.stages, *optional_stages(with_sam=self.sam is not None))

    @property
    def origin(self) -> str:
        """What to give `export-engines` for this recipe."""
        return self.name + (f" --preset {self.preset.name}" if self.preset else "")

    @property
    def models(self) -> dict[str, ModelChoice]:
        """The foundation models by role: `clip`, `dino`, `sam`."""
        chosen = {"clip": self.clip, "dino": self.dino, "sam": self.sam}
        return {role: choice for role, choice in chosen.items() if choice is not None}


def available_recipes() -> dict[str, Path]:
    """The recipes that the package ships, by name."""
    folder = Path(str(resources.files("ovdeploy.engines")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by its name or from a TOML file of the user's.

    Raises:
        RecipeError: no such recipe, not TOML, or a key or value that does not belong there.
    """
    shipped = available_recipes()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
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
    _refuse_unknown_keys(data, Recipe, where)
    try:
        recipe = msgspec.convert(data, Recipe)
        refine = recipe.row.refine and recipe.sam is not None
        recipe = msgspec.convert({**data, "parameters": {"refine": refine, **data.get("parameters", {})}}, Recipe)
        recipe = with_optional(recipe, *recipe.optional_stages)
        if recipe.classes:
            parse_classes(recipe.classes)
    except (msgspec.ValidationError, RecipeError, VocabularyError) as error:
        raise RecipeError(f"{where}: {error}") from error
    for role, needed in {"dino": recipe.row.proxy, "sam": recipe.row.affinity}.items():
        if needed and role not in recipe.models:
            raise RecipeError(f"{where}: method {recipe.method!r} needs a [{role}] table with a model")
    return recipe


def with_optional(recipe: Recipe, *stages: str) -> Recipe:
    """The recipe with optional stages beside those it asks for.

    Raises:
        RecipeError: there is no such stage, or the recipe's models do not allow it.
    """
    for stage in stages:
        if stage not in OPTIONAL:
            raise RecipeError(one_of("optional stage", stage, OPTIONAL))
        if stage not in recipe.possible_stages:
            raise RecipeError(f"the optional stage {stage} needs a [sam] table with a model")
    return msgspec.structs.replace(recipe, optional_stages=tuple(dict.fromkeys((*recipe.optional_stages, *stages))))


def _refuse_unknown_keys(data: Mapping[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    hints = get_type_hints(kind)
    for key, value in data.items():
        if key not in hints:
            raise RecipeError(f"{where}: {one_of('key', key, kind.__struct_fields__)}")
        struct = _struct_in(hints[key])
        if struct and isinstance(value, Mapping):
            _refuse_unknown_keys(value, struct, f"{where} [{key}]")


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """The struct that a field's type is, alone or in a union with None."""
    candidates = (hint, *getattr(hint, "__args__", ()))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, msgspec.Struct)), None)
