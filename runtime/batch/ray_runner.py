"""Batches on a cluster: Ray Data hands out portions and replaces what is lost; each actor has a crew of one.

The portions are those that one machine would do, and so are the bytes that are written: an actor writes its shards
itself, into a folder that all machines see under the same path. What a lost machine had in work, others do again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from ..errors import EngineError, needing
from .crew import Crew
from .job import Batch, Heard, again, refuse_more_failures, written
from .messages import Spec, Work
from .portions import Names, Portion, Rows, Tar
from .rows import is_failed
from .table import Table
from .tally import Tally

PORTIONS = Names | Tar | Rows
NUMBER, PORTION, KEPT = "number", "portion", "kept"


class Report(msgspec.Struct, frozen=True):
    """What an actor says of a shard that it wrote."""

    number: int
    seconds: list[float]
    failed: int
    """Of the photos that were done now."""
    photos: int
    worked: float
    engines: float
    peak: int
    backend: str
    precision: str
    last: str = ""
    """What one of the errors said."""
    stayed: int = 0
    """Rows of errors of before that stay."""


class Actor:
    """Does portions, with a segmenter in a process of its own, which a photo may kill."""

    def __init__(self, spec: Spec, table: Table, time_limit: float | None) -> None:
        self._crew, self._table = Crew(spec, 1, time_limit), table

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the portions of a batch of Ray Data, and write their shards."""
        items = zip(batch[NUMBER], batch[PORTION], batch[KEPT], strict=True)
        works = [self._work(int(number), portion, kept) for number, portion, kept in items]
        return {"report": [msgspec.json.encode(self._report(work)).decode() for work in self._crew.run(works)]}

    def _work(self, number: int, packed: bytes, kept: bool) -> Work:
        """A portion; rows of its shard stay where it is written again."""
        portion: Portion = msgspec.msgpack.decode(packed, type=PORTIONS)
        return again(number, portion, self._table) if kept else Work(number, portion)

    def _report(self, work: Work) -> Report:
        written(self._table, work)
        errors = [str(row["error"]) for number, row in work.rows.items() if number in work.fresh and is_failed(row)]
        ended, ready = work.ended, self._crew.opened
        return Report(
            work.number, work.seconds, len(errors), len(work.fresh), ended.seconds if ended else 0.0,
            ended.engines if ended else 0.0, self._crew.peak, ready.backend if ready else "",
            ready.precision if ready else "", errors[-1] if errors else "", len(work.stayed),
        )  # fmt: skip


def with_ray(batch: Batch, works: Iterator[Work], tally: Tally, heard: Heard) -> None:
    """Do works on a cluster of Ray.

    Raises:
        MissingExtraError: Ray is not installed.
        EngineError: the cluster cannot be reached, or gives up.
        PhotoError: more photos failed than may.
    """
    items = [_item(work) for work in works]
    if not items:
        return
    with needing("ray", "ray", "--runner ray"):
        import ray
        import ray.data
    here = {} if batch.address else {"include_dashboard": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here tells nobody
    try:
        ray.init(address=batch.address, log_to_driver=False, logging_level="warning", **here)
    except Exception as error:  # Ray raises nearly anything, also where a machine is only slow
        raise EngineError(f"no cluster of Ray at {batch.address or 'this machine'} ({error})") from error
    try:
        for line in _reports(ray, batch, items):
            _count(batch, tally, msgspec.json.decode(line, type=Report), heard)
    except ray.exceptions.RayError as error:
        raise EngineError(f"Ray gave up: {error}; the same command goes on where it stopped") from error
    finally:
        ray.shutdown()


def _reports(ray: Any, batch: Batch, items: list[dict[str, Any]]) -> Iterator[str]:
    """What actors report, as it comes."""
    spec = batch.spec()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    found = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Actor,
        fn_constructor_args=(spec, batch.table, batch.time_limit),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=batch.workers),
        num_cpus=spec.threads or 1,
    )
    return (str(row["report"]) for row in found.iter_rows())


def _item(work: Work) -> dict[str, Any]:
    return {NUMBER: work.number, PORTION: msgspec.msgpack.encode(work.portion), KEPT: bool(work.rows or work.before)}


def _count(batch: Batch, tally: Tally, report: Report, heard: Heard) -> None:
    for index in range(report.photos):
        tally.add(failed=index < report.failed)
    tally.end(report.seconds, report.worked, report.engines, report.peak * batch.workers)
    tally.keep(report.stayed, failed=report.stayed)
    if report.failed:
        refuse_more_failures(batch, tally, report.last)
    heard(None, None)


__all__ = ["Actor", "Portion", "with_ray"]
