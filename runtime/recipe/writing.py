"""Writing recipes: parameters that were fitted go into a TOML file, and its comments stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from .. import toml
from ..errors import RecipeError
from ..files import write_bytes
from .recipe import Recipe, load_recipe

SECTION = "[parameters]"


def check_writable(path: Path) -> None:
    """Refuse early what could not be written later.

    Raises:
        RecipeError: the folder is missing, or what is there is no recipe.
    """
    if path.exists():
        load_recipe(path)
    elif not path.parent.is_dir():
        raise RecipeError(f"{path} cannot be written: {path.parent} is no folder")


def write_parameters(path: Path, recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Put parameters into a recipe's file.

    Args:
        path: the TOML file. If it is there only these parameters change, and comments and order stay; if not, it is
            made from `recipe`.
        recipe: what a new file says beside them.
        values: plain values by name.

    Raises:
        RecipeError: the file is no recipe, or says its parameters in a way that cannot be changed line by line.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else _text(recipe)
    expected = toml.loads(before)
    expected["parameters"] = {**expected.get("parameters", {}), **values}
    after = before
    for name, value in values.items():
        after = _with_line(after, name, _line(name, value))
    try:
        sound = toml.loads(after) == expected
    except toml.DecodeError:
        sound = False
    if not sound:
        told = tomli_w.dumps({"parameters": dict(values)})
        raise RecipeError(f"{path}: its parameters cannot be changed line by line; put this in yourself:\n{told}")
    write_bytes(path, after.encode())


def _text(recipe: Recipe) -> str:
    """A recipe as TOML, without what goes without saying. It takes its name from its file."""
    kept = {name: value for name, value in _told(recipe).items() if name not in ("name", "models", "parameters")}
    varying = {name: getattr(recipe.parameters, name) for name in recipe.family.defaults(recipe)}
    models = {role: _told(choice) for role, choice in recipe.models.items()}
    return tomli_w.dumps({**kept, **models, "parameters": {**varying, **_told(recipe.parameters)}})


def _told(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields of a struct that differ from their defaults."""
    told = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        factory = field.default_factory
        usual = factory() if factory is not msgspec.NODEFAULT else field.default
        if value != usual:
            told[field.name] = _told(value) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)
    return told


def _with_line(text: str, name: str, line: str) -> str:
    """The text with a line in its parameters: in place of the one of this name, or as the section's first."""
    lines = text.splitlines()
    start = next((i for i, old in enumerate(lines) if re.match(rf"\s*{re.escape(SECTION)}\s*(#.*)?$", old)), None)
    if start is None:
        return "\n".join([*lines, "", SECTION, line, ""])
    end = next((i for i in range(start + 1, len(lines)) if re.match(r"\s*\[", lines[i])), len(lines))
    old = next((i for i in range(start + 1, end) if re.match(rf"\s*{re.escape(name)}\s*=", lines[i])), None)
    if old is None:
        lines.insert(start + 1, line)
    else:
        last = next((i for i in range(old + 1, end + 1) if _complete(lines[old:i])), old + 1)
        lines[old:last] = [line]
    return "\n".join([*lines, ""])


def _line(name: str, value: Any) -> str:
    """One line of TOML; tomli_w spreads a list over several."""
    joined = re.sub(r"\s*\n\s*", " ", tomli_w.dumps({name: value})).strip()
    return joined.replace("[ ", "[").replace(", ]", "]")


def _complete(lines: list[str]) -> bool:
    """Whether these lines are a whole statement (a list may go over several)."""
    try:
        toml.loads("\n".join(lines))
    except toml.DecodeError:
        return False
    return True
