"""Manifests of older schemas, brought to the one of today step by step. Later ones are told as such.

1. One pipeline: models in fields of their own (`clip`, `dino`, `sam`), tokenizer and templates at the top, the ranges
   of dynamic axes known to the runtime alone.
2. Recipes name their pipeline and have `models` by role; `text` holds tokenizer and templates, or nothing; contracts
   have their `axes`.
3. A `digest` of all that the manifest says. Plans may be TensorRT-RTX's, for targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BundleError
from ..recipe.recipe import TRAINING_FREE, Recipe, with_typed_parameters
from ..recipe.registry import pipeline_named
from .seal import unsealed

SCHEMA_VERSION = 3
SEALED_SINCE = 3
"""The first version whose manifests carry a digest of themselves."""

Data = dict[str, Any]


class _Schema(msgspec.Struct):
    schema_version: int


def migrated(data: Any, path: Path) -> Any:
    """A manifest as read, as one of today's schema.

    Args:
        data: what JSON says.
        path: of the file, for messages.

    Raises:
        BundleError: another version, or not the manifest that was written.
        msgspec.ValidationError: no manifest at all.
    """
    version = msgspec.convert(data, _Schema).schema_version
    if not 1 <= version <= SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema version {version}, this ovdeploy reads 1 to {SCHEMA_VERSION}. "
            f"Export the bundle again with this version, or install the ovdeploy that made it."
        )
    if version >= SEALED_SINCE:
        data = unsealed(data, path)
    for step in range(version, SCHEMA_VERSION):
        data = STEPS[step](dict(data))
    return data


def _from_first(data: Data) -> Data:
    """1 to 2."""
    recipe = dict(_table(data, "recipe"))
    first = pipeline_named(TRAINING_FREE)
    models = {role: recipe.pop(role, None) for role in first.roles}
    recipe["models"] = {role: model for role, model in models.items() if model is not None}
    usual = [use.name for use in first.stages if use.int8]
    if recipe.get("int8", {}).get("stages") == usual:  # what was written out is now the pipeline's own choice
        recipe["int8"] = {name: value for name, value in recipe["int8"].items() if name != "stages"}
    text = {name: data.pop(name) for name in ("tokenizer", "templates") if name in data}
    typed = with_typed_parameters(msgspec.convert(recipe, Recipe))
    family = typed.family
    axes = msgspec.to_builtins(family.axes(typed, msgspec.convert(_table(data, "dimensions"), family.sizes)))
    stages = {name: _with_axes(stage, axes) for name, stage in _table(data, "stages").items()}
    return {**data, "schema_version": 2, "recipe": recipe, "text": text, "stages": stages}


def _from_second(data: Data) -> Data:
    """2 to 3."""
    return {**data, "schema_version": 3}


STEPS: Mapping[int, Callable[[Data], Data]] = {1: _from_first, 2: _from_second}
"""By the version that a step begins with."""


def _with_axes(stage: Any, axes: Mapping[str, Any]) -> Any:
    """A stage whose contract has the sizes of its dynamic inputs; what is no stage is left for others to refuse."""
    try:
        contract = stage["contract"]
        names = [dim for spec in contract["inputs"] for dim in spec["shape"] if isinstance(dim, str)]
    except (TypeError, KeyError):
        return stage
    return {**stage, "contract": {**contract, "axes": {name: axes[name] for name in names if name in axes}}}


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of the manifest, or a refusal in msgspec's words."""
    return msgspec.convert(data.get(name), dict[str, Any])
