"""Rows: what comes of a photo, an answer or an error, in plain values. No time stands in them: the same is the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..answers.result import Result
from ..errors import printable
from ..photo.stored import Known
from .columns import COLUMNS

Row = dict[str, Any]
"""Values by the table's columns; what is not there is null."""

ROW, NAME, ERROR = "row", "name", "error"


class StoppedError(Exception):
    """Why a photo got no answer that its worker lived to give. Its name is what the column `error_type` says."""


class TimeLimitError(StoppedError):
    """A photo took longer than it may."""


class WorkerDiedError(StoppedError):
    """A photo ended its worker, twice."""


def answered(number: int, photo: Known, result: Result, columns: Sequence[str]) -> Row:
    """The row of a result.

    Args:
        number: of the photo in its shard.
        photo: that was read.
        result: of it.
        columns: names of `COLUMNS`.

    Raises:
        PhotoError: a column has no value for such a result.
    """
    height, width = result.mask.shape
    values = {name: COLUMNS[name].value(result) for name in columns}
    told = {"height": height, "width": width, "warnings": list(result.warnings)}
    return {ROW: number, NAME: printable(photo.name), **_digest(photo), **told, **values}


def failed(number: int, name: str, error: Exception, photo: Known | None = None) -> Row:
    """The row of an error.

    Args:
        number: of the photo in its shard.
        name: the photo's.
        error: why there is no answer.
        photo: itself, if it was read.
    """
    told = {"error_type": type(error).__name__, ERROR: printable(error)}
    return {ROW: number, NAME: printable(name), **_digest(photo), **told}


def is_failed(row: Row) -> bool:
    """Whether a row is one of an error."""
    return row.get(ERROR) is not None


def _digest(photo: Known | None) -> Row:
    return {"sha256": (photo.sha256 or None) if photo is not None else None}
