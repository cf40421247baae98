"""The runner of one machine: a crew of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from .crew import Crew
from .job import Batch, Heard, count, written
from .messages import Work
from .rows import Row
from .tally import Tally


def on_this_machine(batch: Batch, works: Iterator[Work], tally: Tally, heard: Heard) -> None:
    """Do works in processes on this machine. Where there is nothing to do, no engine is opened."""
    first = next(works, None)
    if first is None:
        return
    with Crew(batch.spec(), batch.workers, batch.time_limit) as crew:

        def told(row: Row) -> None:
            tally.opened(crew.opened_at)
            count(batch, tally, row)
            heard(row, crew.opened)

        with closing(crew.run(_chained(first, works), told)) as finished:
            for work in finished:
                written(batch.table, work)
                tally.keep(len(work.stayed), failed=len(work.stayed))
                ended = work.ended
                tally.end(work.seconds, ended.seconds if ended else 0, ended.engines if ended else 0, crew.peak)
                heard(None, crew.opened)


def _chained(first: Work, others: Iterator[Work]) -> Iterator[Work]:
    yield first
    yield from others
