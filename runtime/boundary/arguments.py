"""The arguments of public functions: their types are checked against the annotations, and answered in a sentence.

What is of the right type goes to the function, which judges the value. What the system says while the function runs,
and nobody below turned into an error of ours, becomes one here.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from ..errors import FileError, OvdeployError, WrongTypeError
from .reading import reason

Function = TypeVar("Function", bound=Callable[..., Any])


class Taken(NamedTuple):
    """What an argument may be."""

    words: str
    """For the message."""
    fits: Callable[[Any], bool]


WIDEST = 63
"""Bits of a whole number, beside its sign. Python's own have no end, but no size, count or seed here needs more."""


def _number(*kinds: type) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        return not isinstance(value, int) or value.bit_length() <= WIDEST

    return fits


def _path(value: Any) -> bool:
    return isinstance(value, str | Path) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))


PLAIN: dict[Any, Taken] = {
    str: Taken("a string", lambda value: isinstance(value, str)),
    bool: Taken("True or False", lambda value: isinstance(value, bool | np.bool_)),
    int: Taken("a whole number", _number(int, np.integer)),
    float: Taken("a number", _number(int, float, np.integer, np.floating)),
    None: Taken("None", lambda value: value is None),
    type(None): Taken("None", lambda value: value is None),
    np.ndarray: Taken("a NumPy array", lambda value: isinstance(value, np.ndarray)),
}
"""By annotation; classes that are not here are asked by isinstance."""


def public(*own: str) -> Callable[[Function], Function]:
    """Make a function one of the package's doors: it checks types, and lets no error of the system out.

    Args:
        own: parameters that the function checks itself, since its own error says more than a type's.

    Returns:
        A decorator. It raises `WrongTypeError` for an argument of another type than the annotation's, and `FileError`
        where the system refuses what the function did.
    """

    def door(function: Function) -> Function:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            signature, taken = _taken(function, own)
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise WrongTypeError(f"{function.__qualname__}: {error}") from None
            for name, value in given.items():
                kind = taken.get(name)
                if kind is not None and not _fits(kind, value):
                    raise WrongTypeError(
                        f"{function.__qualname__}: expected {kind.words} as {name}, got {_told(value)}"
                    )
            try:
                return function(*args, **kwargs)
            except OvdeployError:
                raise
            except OSError as error:
                raise FileError(f"{function.__qualname__}: {_where(error)}{reason(error)}", error.errno) from error

        return checked  # type: ignore[return-value]

    return door


def _fits(kind: Taken, value: Any) -> bool:
    """Whether a value is of a kind. One that cannot even be looked into, since its own methods fail, is not."""
    try:
        return kind.fits(value)
    except Exception:
        return False


def _told(value: Any) -> str:
    """A value's type, and what is wrong with one that has it."""
    if value is None:
        return "None"
    if isinstance(value, int) and value.bit_length() > WIDEST:
        return f"one of {value.bit_length()} bits"
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"{name} with something else in it" if isinstance(value, Sequence | Mapping) and not _texts(value) else name


def _texts(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _where(error: OSError) -> str:
    return f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""


@functools.cache
def _taken(function: Callable[..., Any], own: tuple[str, ...]) -> tuple[inspect.Signature, dict[str, Taken]]:
    """A function's signature, and what each of its parameters may be; worked out at the first call."""
    signature = inspect.signature(function)
    hints = get_type_hints(function)
    names = [name for name in signature.parameters if name in hints and name not in own]
    found = {name: taken_by(hints[name]) for name in names}
    return signature, {name: kind for name, kind in found.items() if kind is not None}


def taken_by(hint: Any) -> Taken | None:
    """What an annotation takes; None for one that takes anything."""
    if hint is Any or isinstance(hint, TypeVar):
        return None
    if hint in PLAIN:
        return PLAIN[hint]
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _either(get_args(hint))
    if origin is None and isinstance(hint, type):
        return _path_taken() if issubclass(hint, os.PathLike) else _instance(hint)
    return _container(origin, get_args(hint))


def _path_taken() -> Taken:
    return Taken("a path", _path)


def _instance(kind: type) -> Taken:
    if getattr(kind, "_is_protocol", False):  # a function by its signature, such as a `Reporter`
        return Taken("a function", callable)
    return Taken(f"a {kind.__name__}", lambda value: isinstance(value, kind))


def _either(hints: tuple[Any, ...]) -> Taken | None:
    kinds = [taken_by(hint) for hint in hints]
    if any(kind is None for kind in kinds):
        return None
    known = [kind for kind in kinds if kind is not None]
    names = dict.fromkeys(kind.words for kind in known)
    if "a path" in names:
        names.pop("a string", None)  # a path is one
    return Taken(" or ".join(names), lambda value: any(kind.fits(value) for kind in known))


def _container(origin: Any, inner: tuple[Any, ...]) -> Taken | None:
    """Sequences and mappings with what is in them; what can only be looked at once is left to the function."""
    if origin is Callable or (isinstance(origin, type) and issubclass(origin, Callable)):  # type: ignore[arg-type]
        return Taken("a function", callable)
    if not isinstance(origin, type):
        return None
    if issubclass(origin, Mapping):
        key = taken_by(inner[0]) or Taken("anything", lambda value: True)
        words = f"a mapping whose keys are {key.words.removeprefix('a ')}s"
        return Taken(words, lambda value: isinstance(value, Mapping) and all(map(key.fits, value)))
    if issubclass(origin, Sequence):
        each = taken_by(inner[0]) or Taken("anything", lambda value: True)
        words = f"a list of which each is {each.words}"
        return Taken(words, lambda value: _is_list(value) and all(map(each.fits, value)))
    if issubclass(origin, Iterable):
        return Taken("something to iterate over", _can_begin)
    return None


def _can_begin(values: Any) -> bool:
    iter(values)  # takes nothing out of it
    return True


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not _texts(value)
