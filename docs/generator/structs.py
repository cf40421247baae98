"""Structs of msgspec in words: their fields with type, default and docstring."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import inspect as kinds
from msgspec.structs import FieldInfo

from ovdeploy.runtime.bundle.bundle import Manifest, Provenance, TextAssets
from ovdeploy.runtime.bundle.calibration import Calibration, GateReport, LayerReport, StageReport
from ovdeploy.runtime.bundle.entries import EngineEntry, FileEntry, PlanEntry, StageEntry
from ovdeploy.runtime.geometry.dimensions import Dimensions, SamDimensions
from ovdeploy.runtime.pipelines.dense.sizes import DenseDimensions
from ovdeploy.runtime.pipelines.grounded.sizes import GroundedDimensions
from ovdeploy.runtime.pipelines.tracking.sizes import TrackingDimensions
from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.recipe.recipe import ModelChoice, PresetNote, Recipe, Tolerances
from ovdeploy.runtime.stage.census import Census
from ovdeploy.runtime.stage.contract import Axis, StageContract, TensorSpec

from .markdown import table

Struct = type[msgspec.Struct]

MANIFEST: tuple[Struct, ...] = (
    Manifest, TextAssets, Provenance, StageEntry, EngineEntry, PlanEntry, FileEntry, StageContract, TensorSpec, Axis,
    Census, Calibration, StageReport, LayerReport, GateReport, Dimensions, SamDimensions, DenseDimensions,
    GroundedDimensions, TrackingDimensions,
)  # fmt: skip
"""In the order in which the page about bundles shows them."""

LINKS: Mapping[Struct, str] = {
    **{kind: f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in MANIFEST},
    Recipe: "[Recipe](recipes.md#keys-of-the-file)",
    ModelChoice: "[a model's table](#a-models-table)",
    Tolerances: "[tolerances](#tolerances)",
    Int8Settings: "[settings](recipes.md#int8)",
    PresetNote: "[preset](#preset)",
}


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
