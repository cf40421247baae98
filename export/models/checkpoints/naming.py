"""Names: how those of a file become those of a model, by rows of tables.

In a row, `{n}` stands for a number and `{w}` for `weight` or `bias`; both mean the same on the two sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import torch

StateDict = dict[str, torch.Tensor]

Change = Callable[[torch.Tensor], torch.Tensor]

HOLES = {"n": r"(?P<n>\d+)", "m": r"(?P<m>\d+)", "w": r"(?P<w>weight|bias)", "rest": r"(?P<rest>.+)"}
"""What may stand in a row."""


def same(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as it is."""
    return tensor


def transposed(tensor: torch.Tensor) -> torch.Tensor:
    """[in, out] of a [out, in]: open_clip multiplies by projections from the right."""
    return tensor.t()


def as_scalar(tensor: torch.Tensor) -> torch.Tensor:
    """[] of a [1], as open_clip's `load_checkpoint` does with scales."""
    return tensor.reshape(()) if tensor.shape == (1,) else tensor


class Row(NamedTuple):
    """A name of the file and what becomes of it."""

    theirs: str
    ours: str | None
    """None: left out, since the model makes it itself or has no use for it."""
    change: Change = same
    part: int = 0
    """Rows with the same `ours` are stacked along the first axis in this order: queries, keys, values. Those with 0 are
    copies of one tensor."""
    parts: int = 3
    """How many are stacked."""
    added: bool = False
    """Rows with the same `ours` are summed instead."""
    zero: str = ""
    """With `ours` None: only zeros may be left out; why the model has no place for others."""
    why: str = ""
    """With `ours` None: why it is left out."""


class Naming(NamedTuple):
    """The names that a library gives to the tensors of an architecture."""

    name: str
    source: str
    """Where these names are written, and a file that has them."""
    marks: tuple[str, ...]
    """Names that tell a file of this naming; all must be there."""
    rows: tuple[Row, ...]
    keeps: bool = False
    """Whether names without a row stay as they are: the naming is the model's own, or nearly."""


class Renamed(NamedTuple):
    """A file's tensors under the model's names."""

    tensors: StateDict
    unknown: tuple[str, ...]
    """Names of the file that the naming does not know."""
    notes: tuple[str, ...]


class ValuesError(ValueError):
    """A tensor that may only be left out where it is zero is not, or copies of one tensor differ."""


def rename(tensors: Mapping[str, torch.Tensor], naming: Naming) -> Renamed:
    """Bring tensors to a model's names.

    Args:
        tensors: by the file's names.
        naming: what they are.

    Raises:
        ValuesError: one that may only be left out where it is zero is not, or copies differ.
    """
    pieces: dict[str, list[tuple[Row, torch.Tensor]]] = {}
    unknown, left = [], []
    for name, tensor in tensors.items():
        found = list(_matches(name, naming))
        for row, ours in found:
            if ours is None:
                left.append(_left_out(name, tensor, row))
            else:
                pieces.setdefault(ours, []).append((row, row.change(tensor)))
        if not found:
            unknown.append(name)
    told = {why: sum(other == why for _, other in left) for _, why in left}
    examples = {why: name for name, why in reversed(left)}
    notes = [f"left out: {examples[why]}{f' and {n - 1} like it' if n > 1 else ''} ({why})" for why, n in told.items()]
    whole = {ours: together for ours, parts in pieces.items() if (together := _joined(parts)) is not None}
    return Renamed(whole, tuple(unknown), tuple(notes))


def theirs_of(ours: str, naming: Naming) -> list[str]:
    """The names in a file that a tensor of the model is made of, for messages."""
    found = []
    for row in naming.rows:
        if row.ours is not None and (match := _pattern(row.ours).fullmatch(ours)):
            found.append(row.theirs.format(**match.groupdict()))
    return found or ([ours] if naming.keeps else [])


def known_names(names: Iterable[str], naming: Naming) -> int:
    """How many names have a row."""
    return sum(any(_pattern(row.theirs).fullmatch(name) for row in naming.rows) for name in names)


def _matches(name: str, naming: Naming) -> Iterator[tuple[Row, str | None]]:
    found = False
    for row in naming.rows:
        if match := _pattern(row.theirs).fullmatch(name):
            found = True
            yield row, None if row.ours is None else row.ours.format(**match.groupdict())
    if not found and naming.keeps:
        yield Row(name, name), name


@cache
def _pattern(template: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(HOLES[piece] if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)))


def _left_out(name: str, tensor: torch.Tensor, row: Row) -> tuple[str, str]:
    if row.zero and bool(row.change(tensor).count_nonzero()):
        raise ValuesError(f"{name} is not zero, and {row.zero}")
    return name, row.why or row.zero


def _joined(parts: list[tuple[Row, torch.Tensor]]) -> torch.Tensor | None:
    """Pieces of a tensor put together; None if one is missing or they do not fit, so that the whole is missing."""
    ordered = [tensor for _, tensor in sorted(parts, key=lambda part: part[0].part)]
    numbers = sorted(row.part for row, _ in parts)
    if all(row.added for row, _ in parts):
        return _sum(ordered)
    if not any(numbers):
        return _only(parts)
    if numbers == list(range(1, parts[0][0].parts + 1)) and len({tensor.shape[1:] for tensor in ordered}) == 1:
        return torch.cat(ordered)
    return None


def _only(parts: list[tuple[Row, torch.Tensor]]) -> torch.Tensor:
    (row, first), *copies = parts
    for other, copy in copies:
        if not torch.equal(first, copy):
            raise ValuesError(f"{row.theirs} and {other.theirs} are copies of one tensor, and they differ")
    return first


def _sum(tensors: Iterable[torch.Tensor]) -> torch.Tensor | None:
    first, *others = tensors
    if len(others) != 1 or others[0].numel() != first.numel():
        return None
    return first.float() + others[0].float().reshape(first.shape)


def attention_rows(theirs: str, ours: str, names: tuple[str, str, str]) -> tuple[Row, ...]:
    """Rows of queries, keys and values that the model has in one tensor.

    Args:
        theirs: a template with `{part}` for which of the three, and `{w}`.
        ours: the model's name.
        names: of queries, keys and values in the file.
    """
    filled = (theirs.replace("{part}", name) for name in names)
    return tuple(Row(name, ours, part=number) for number, name in enumerate(filled, 1))


def block_rows(theirs: str, ours: str, names: Mapping[str, str]) -> tuple[Row, ...]:
    """Rows of what each block has, weights and biases.

    Args:
        theirs: the prefix of a block in the file, with `{n}`.
        ours: in the model.
        names: their parts' names by the file's.
    """
    return tuple(Row(f"{theirs}.{name}.{{w}}", f"{ours}.{own}.{{w}}") for name, own in names.items())
