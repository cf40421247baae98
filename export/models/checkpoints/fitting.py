"""Bringing a checkpoint to a model: names, prefixes, grids and types. What does not fit is refused, name by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ....runtime.errors import WeightsError
from .naming import Naming, Renamed, StateDict, ValuesError, known_names, rename, theirs_of
from .positions import Positions, to_grid
from .prefixes import bare, below, prefixes_of, without_wrappers

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that are read as numbers; those of eight bits mean nothing without scales."""

MOST = 8
"""Names of a kind that a message lists."""


class Reading(NamedTuple):
    """How checkpoints of a model are read."""

    namings: tuple[Naming, ...] = ()
    """The particular before the general."""
    positions: tuple[Positions, ...] = ()
    """Embeddings whose grid may change."""
    unused: tuple[str, ...] = ()
    """Beginnings of the names of tensors that published checkpoints hold and the model does without."""
    check: Callable[[Collection[str], Path | None, nn.Module], None] = lambda names, path, module: None
    """Raises `WeightsError` for a checkpoint that fits and still is another model's: its names, its file, the model."""


class Fitted(NamedTuple):
    """A state dict of a model in float32, and what was done to have it."""

    state: StateDict
    notes: tuple[str, ...]


def fit(tensors: Mapping[str, torch.Tensor], module: nn.Module, reading: Reading, what: str, source: str) -> Fitted:
    """Bring the tensors of a checkpoint to a model.

    Args:
        tensors: by the checkpoint's names.
        module: the model; it is not changed.
        reading: the namings that the model's checkpoints may have, and its position embeddings.
        what: the model, for messages.
        source: the checkpoint, for messages.

    Raises:
        WeightsError: the names are none that are known, something is missing, unexpected, or of another shape or type,
            or there is NaN or infinity in it.
    """
    plain = without_wrappers(tensors)
    naming, prefixes = _recognised(plain.tensors, module, reading, what, source)
    inner = below(plain.tensors, prefixes[0], prefixes[1:])
    needed, idle = _needed(inner.tensors, reading.unused)
    try:
        renamed = rename(needed, naming)
    except ValuesError as error:
        raise WeightsError(f"{source} does not fit {what}: {error}") from error
    except (ValueError, IndexError, RuntimeError) as error:  # a change of a tensor that has another shape
        raise WeightsError(
            f"{source} does not fit {what} (read as {naming.name}): a tensor has a shape that it cannot have ({error})"
        ) from error
    grids = [told for row in reading.positions if (told := to_grid(renamed.tensors, module, row))]
    _check(renamed, needed, module.state_dict(), naming, f"{source} does not fit {what}")
    _check_finite(renamed.tensors, source)
    as_what = [f"read as {naming.name}"] if needed.keys() != renamed.tensors.keys() else []
    types = {str(value.dtype).removeprefix("torch.") for value in tensors.values() if value.dtype in FLOATS[1:]}
    converted = [f"converted from {', '.join(sorted(types))}"] if types else []
    state = {name: value.float() if value.is_floating_point() else value for name, value in renamed.tensors.items()}
    return Fitted(state, (*plain.notes, *inner.notes, *as_what, *idle, *renamed.notes, *grids, *converted))


def _needed(tensors: StateDict, unused: tuple[str, ...]) -> tuple[StateDict, list[str]]:
    """The tensors that a model does with, and a note of the others."""
    left = [name for name in tensors if name.startswith(unused)]
    notes = [f"left out: {_some(left, 1)} (the model does without)"] if left else []
    return {name: tensor for name, tensor in tensors.items() if name not in left}, notes


def _recognised(
    tensors: StateDict, module: nn.Module, reading: Reading, what: str, source: str
) -> tuple[Naming, list[str]]:
    """The naming whose marks the tensors have, and the prefixes under which they lie."""
    own = Naming("the model's own", "", (next(iter(module.state_dict())),), (), keeps=True)
    for naming in (*reading.namings, own):
        if prefixes := prefixes_of(tensors.keys(), naming.marks):
            return naming, prefixes
    known = ", ".join(dict.fromkeys(naming.name for naming in (*reading.namings, own)))
    raise WeightsError(
        f"{source} does not fit {what}: its names ({_some(sorted(tensors), 4)}) are none of a whole model that is "
        f"known here ({known}).{_nearly(tensors, module, reading)} Choose a checkpoint of this model."
    )


def _nearly(tensors: StateDict, module: nn.Module, reading: Reading) -> str:
    """What is missing to the naming that knows most of the names, as a sentence."""
    own, names = module.state_dict().keys(), [bare(name) for name in tensors]

    def likeness(naming: Naming) -> tuple[bool, int, bool]:
        marks = [any(_ends(name, mark) for name in tensors) for mark in naming.marks]
        known = sum(name in own for name in names) if naming.keeps else known_names(names, naming)
        return all(marks), known, any(marks)

    naming = max(reading.namings, key=likeness, default=None)
    if naming is None or not any(likeness(naming)):
        return ""
    marks = [mark for mark in naming.marks if any(_ends(name, mark) for name in tensors)]
    if lost := [mark for mark in naming.marks if mark not in marks]:
        return f" It is {naming.name} in part: there is no {', no '.join(lost)}."
    prefix = next(name for name in tensors if _ends(name, marks[0])).removesuffix(marks[0])
    return f" {naming.name} may be there under the prefix {prefix!r}, which is none that is known; take it off."


def _ends(name: str, mark: str) -> bool:
    return f".{name}".endswith(f".{mark}")


def _check(renamed: Renamed, theirs: StateDict, own: Mapping[str, torch.Tensor], naming: Naming, told: str) -> None:
    """Refuse what is missing, unexpected or different.

    Raises:
        WeightsError: with the names, the shapes expected and those that came.
    """
    came = renamed.tensors
    extra = {name: theirs[name] for name in renamed.unknown} | {n: t for n, t in came.items() if n not in own}
    both = sorted(own.keys() & came.keys())
    problems = {
        "missing": [_wanted(name, own[name], naming, theirs) for name in sorted(own.keys() - came.keys())],
        "unexpected": [f"{name} {list(tensor.shape)}" for name, tensor in sorted(extra.items())],
        "of another shape": [
            f"{name}: {list(came[name].shape)} instead of {list(own[name].shape)}"
            for name in both
            if came[name].shape != own[name].shape
        ],
        "of another type": [
            f"{name}: {_type(came[name])} instead of {_type(own[name])}"
            for name in both
            if _other(came[name], own[name])
        ],
    }
    found = [f"{len(names)} {kind} ({_some(names)})" for kind, names in problems.items() if names]
    if found:
        as_what = "" if naming.keeps else f" (read as {naming.name})"
        raise WeightsError(f"{told}{as_what}: {'; '.join(found)}. Choose the checkpoint of this model.")


def _wanted(name: str, tensor: torch.Tensor, naming: Naming, theirs: StateDict) -> str:
    """A missing tensor: its name, which of the file's it would be made of, and its shape."""
    made_of = [each for each in theirs_of(name, naming) if each != name]
    lost = [each for each in made_of if each not in theirs]
    return f"{name}{f' from {lost[0]}' if lost else ''} {list(tensor.shape)}"


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")


def _other(came: torch.Tensor, own: torch.Tensor) -> bool:
    if came.layout != torch.strided or came.is_quantized:
        return True
    return came.dtype not in FLOATS if own.is_floating_point() else came.dtype != own.dtype


def _check_finite(tensors: StateDict, source: str) -> None:
    broken = sorted(name for name, value in tensors.items() if not bool(value.isfinite().all()))
    if broken:
        raise WeightsError(
            f"{source} has NaN or infinity in {len(broken)} of {len(tensors)} tensors ({_some(broken)}), and so would "
            f"every answer. A training that diverged leaves such files; take an earlier one."
        )


def _some(names: Sequence[str], most: int = MOST) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
