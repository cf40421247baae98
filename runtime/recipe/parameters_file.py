"""Parameters in a file of their own: an overlay, which is laid over a bundle's or a recipe's.

A TOML file with one table, `[parameters]`, as recipes have it. `ovdeploy tune` writes one; `--parameters` of the
commands and `Segmenter.load(parameters=load_parameters(path))` take it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from ..boundary.arguments import public
from ..boundary.reading import reason
from ..errors import ParameterError, one_of, shown
from ..files import write_bytes
from ..toml import read_toml
from .parameters import Parameters
from .recipe import Recipe
from .registry import known_pipelines

TABLE = "parameters"


@public()
def load_parameters(path: str | Path) -> dict[str, Any]:
    """Read an overlay.

    Returns:
        Plain values by name: what `Segmenter.load` and `Segmenter.segment` take as `parameters`.

    Raises:
        ParameterError: missing, no overlay, or names and values that no pipeline's parameters have together.
    """
    path = Path(path)
    found = read_toml(path, ParameterError, "the file of parameters")
    values = found.get(TABLE)
    if set(found) != {TABLE} or not isinstance(values, dict):
        told = ", ".join(found) or "nothing"
        raise ParameterError(f"{path}: expected a table [{TABLE}] and nothing else, got {told}; a recipe is none")
    _check(values, str(path))
    return values


def _check(values: Mapping[str, Any], where: str) -> None:
    """Refuse what is of no pipeline; with what the pipeline says that knows the most of the names, the usual one first.

    Raises:
        ParameterError: a name or a value is not one.
    """
    refused: list[tuple[int, ParameterError]] = []
    for kind in _kinds():
        try:
            _check_each(kind, values, where)
            return
        except ParameterError as error:
            refused.append((len(set(kind.__struct_fields__).intersection(values)), error))
    raise max(refused, key=lambda each: each[0])[1]


def _check_each(kind: Any, values: Mapping[str, Any], where: str) -> None:
    """Each value by itself: whether they fit together depends on those that a bundle has."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in values.items():
        if name not in types:
            raise ParameterError(f"{where}: {one_of('parameter', name, types)}")
        try:
            msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            raise ParameterError(f"{where}: {name}: {error}") from error


def _kinds() -> Iterator[Any]:
    """Types of parameters; other pipelines than the usual one are imported only if it comes to them."""
    yield Parameters
    yield from (family.parameters for family in known_pipelines() if family.parameters is not Parameters)


@public()
def save_parameters(path: str | Path, values: Mapping[str, Any], comments: Iterable[str] = ()) -> None:
    """Write an overlay.

    Args:
        path: the file.
        values: plain values by name.
        comments: lines to put on top.

    Raises:
        ParameterError: TOML has no such values.
        FileError: the system refuses the path.
    """
    try:
        head = "".join(f"# {_line(line)}\n" for line in comments)
        text = (head + tomli_w.dumps({TABLE: dict(values)})).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"{path}: this cannot be written as TOML: {reason(error)}") from error
    write_bytes(path, text)


def _line(comment: Any) -> str:
    if not isinstance(comment, str) or len(comment.splitlines()) > 1:
        raise TypeError(f"{shown(comment)} is no line of text")
    return comment


@public()
def with_parameters(recipe: Recipe, path: str | Path) -> Recipe:
    """A recipe with the parameters of an overlay, baked ones included: for an export.

    Raises:
        ParameterError: as `load_parameters`.
    """
    values = load_parameters(path)
    return msgspec.structs.replace(recipe, parameters=_laid_over(recipe.parameters, values, str(path)))


def _laid_over(parameters: Any, values: Mapping[str, Any], where: str) -> Any:
    for name in values:
        if name not in parameters.__struct_fields__:
            raise ParameterError(f"{where}: {one_of('parameter', name, parameters.__struct_fields__)}")
    try:
        return msgspec.convert({**msgspec.structs.asdict(parameters), **values}, type(parameters))
    except msgspec.ValidationError as error:
        raise ParameterError(f"{where}: {error}") from error
