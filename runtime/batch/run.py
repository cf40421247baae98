"""A run: the shards that are not there are done, here or on many machines, and written."""

from __future__ import annotations

from collections.abc import Iterator

from ..bundle.locks import locked
from ..errors import ParameterError, one_of
from ..files import check_folder
from .job import Batch, Heard, Runner, pending, unheard
from .local import on_this_machine
from .manifest import keep_or_refuse
from .messages import Work
from .table import MOST_SHARDS
from .tally import Tally


def run(batch: Batch, runner: Runner, tally: Tally, heard: Heard = unheard) -> None:
    """Do what is not done.

    Args:
        batch: what is to be done.
        runner: does works, and writes what comes of each.
        tally: counts.
        heard: is told how far it is.

    Raises:
        ParameterError: there is no such part, or too many shards.
        OutputError: the table depends on something else, or cannot be written.
        BusyError: another run does the same part.
        PhotoError: more photos failed than may.
        OvdeployError: what would befall every photo.
    """
    at, of = batch.part
    if not 1 <= at <= of:
        raise ParameterError(f"part {at}/{of}: expected 1/{of} to {of}/{of}")
    if len(batch.plan) > MOST_SHARDS:
        raise ParameterError(f"{len(batch.plan):,} shards: {MOST_SHARDS:,} are the most; let each have more photos")
    folder = batch.table.folder
    check_folder(folder)
    keep_or_refuse(folder, batch.depends)
    with locked(folder / f"part-{at}-of-{of}", "ovdeploy batch"):
        runner(batch, pending(batch, tally, heard), tally, heard)


def _with_ray(batch: Batch, works: Iterator[Work], tally: Tally, heard: Heard) -> None:
    from .ray_runner import with_ray

    with_ray(batch, works, tally, heard)


RUNNERS: dict[str, Runner] = {"local": on_this_machine, "ray": _with_ray}
"""By the name that users ask for."""


def runner_named(name: str) -> Runner:
    """A runner by its name.

    Raises:
        ParameterError: there is none.
    """
    if name not in RUNNERS:
        raise ParameterError(one_of("runner", name, RUNNERS))
    return RUNNERS[name]
