"""What a run is to do, and what every runner does for it: asking for works, counting, writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import PhotoError
from ..reporting import logger
from .messages import Ready, Spec, Work
from .plan import Plan
from .portions import Portion
from .rows import Row, is_failed
from .table import Table
from .tally import Tally

log = logger("batch")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is to be done."""

    spec: Callable[[], Spec]
    """What every worker does; asked for where there is something to do, since words are embedded for it."""
    plan: Plan
    table: Table
    depends: Mapping[str, Any]
    """All that rows depend on but the content of photos, as plain values."""
    part: tuple[int, int] = (1, 1)
    """Which of how many: of n machines the first does the shards 0, n, 2 n, …"""
    workers: int = 1
    """Processes; with Ray, actors."""
    time_limit: float | None = None
    """Seconds that a photo may take; None means any."""
    max_failures: int | None = None
    """Photos that may fail before the run ends; None means any number."""
    retry_failed: bool = False
    """Whether photos that failed before are tried again."""
    address: str | None = None
    """Of a cluster, for runners that have one."""

    @property
    def numbers(self) -> range:
        """Of the shards of this part."""
        at, of = self.part
        return range(at - 1, len(self.plan), of)


class Heard(Protocol):
    """Is told how far a run is."""

    def __call__(self, row: Row | None, ready: Ready | None) -> None:
        """Take note.

        Args:
            row: of a photo that was done; None if a shard was passed over or written.
            ready: how workers opened the bundle; None if nobody said yet.
        """


def unheard(row: Row | None, ready: Ready | None) -> None:
    """Tells nobody."""


Runner = Callable[[Batch, Iterator[Work], Tally, Heard], None]


def pending(batch: Batch, tally: Tally, heard: Heard = unheard) -> Iterator[Work]:
    """What is to be done, as it is asked for. Shards that are there are counted."""
    done = set(batch.table.done())
    for number in batch.numbers:
        told = batch.table.told(number) if number in done else None
        if told is None:
            yield Work(number, batch.plan[number])
        elif told.failed and batch.retry_failed:
            work = again(number, batch.plan[number], batch.table)
            tally.keep(len(work.rows))
            yield work
        else:
            tally.skip(told.rows, told.failed)
            heard(None, None)


def again(number: int, portion: Portion, table: Table) -> Work:
    """What is to be done of a shard that is there: the photos that failed."""
    rows = table.rows(number)
    good, bad = ({int(row["row"]): row for row in rows if is_failed(row) == failed} for failed in (False, True))
    return Work(number, portion, rows=good, before=bad)


def count(batch: Batch, tally: Tally, row: Row) -> None:
    """Count a photo.

    Raises:
        PhotoError: more failed than may.
    """
    tally.add(failed=is_failed(row))
    if is_failed(row):
        refuse_more_failures(batch, tally, str(row["error"]))


def refuse_more_failures(batch: Batch, tally: Tally, last: str) -> None:
    """End a run in which too many photos fail.

    Args:
        batch: says how many may.
        tally: says how many did.
        last: what one of them said.

    Raises:
        PhotoError: more failed than may.
    """
    if batch.max_failures is not None and tally.failed > batch.max_failures:
        raise PhotoError(
            f"{tally.failed} photos failed, and {batch.max_failures} may. The run ends here; the shards that are whole "
            f"stay. The last one said: {last}"
        )


def written(table: Table, work: Work) -> None:
    """Write a portion's shard."""
    table.write(work.number, work.whole)
    log.info("shard %d is written", work.number)
