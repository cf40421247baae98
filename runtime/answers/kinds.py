"""The kinds of file that a photo's result can be saved as: what is asked for is computed, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ..boundary.arguments import public
from ..errors import ParameterError, one_of
from .result import Result


class Kind(NamedTuple):
    """One kind of answer."""

    suffixes: tuple[str, ...]
    """Of its files, after the photo's name."""
    save: Callable[..., None]
    """Writes them: takes a result, and a path for each suffix."""
    holds: str
    """What is in them, for people."""


KINDS: dict[str, Kind] = {
    "mask": Kind((".mask.png",), Result.save_mask, "class indices, one a pixel"),
    "overlay": Kind((".overlay.png",), Result.save_overlay, "the photo in the classes' colours, with a legend"),
    "json": Kind((".json",), Result.save_json, "areas, boxes, scores and timings"),
}
"""By the name that users ask for."""


@public()
def kind_named(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ParameterError: there is none.
    """
    if name not in KINDS:
        raise ParameterError(one_of("kind of answer", name, KINDS))
    return KINDS[name]


@public()
def paths_of(kind: str, stem: str | Path) -> tuple[Path, ...]:
    """The files of a kind.

    Args:
        kind: its name.
        stem: the path that the suffixes are put behind, such as `results/cat`.

    Raises:
        ParameterError: there is no such kind.
    """
    return tuple(Path(f"{os.fspath(stem)}{suffix}") for suffix in kind_named(kind).suffixes)


@public()
def save_as(result: Result, kinds: Iterable[str], stem: str | Path) -> tuple[Path, ...]:
    """Save a result as files of some kinds.

    Args:
        result: of a photo.
        kinds: names of `KINDS`.
        stem: the path that the suffixes are put behind: `results/cat` gives `results/cat.mask.png`.

    Returns:
        The files that were written.

    Raises:
        ParameterError: there is no such kind.
        MissingExtraError: a kind needs a library that is not installed.
        FileError: the system refuses a path.
    """
    asked = [(kind_named(name), paths_of(name, stem)) for name in kinds]
    for kind, paths in asked:
        kind.save(result, *paths)
    return tuple(path for _, paths in asked for path in paths)
