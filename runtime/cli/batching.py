"""What `ovdeploy batch` shows: how far it is, the first errors, and what came of it all."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

import click
from rich.console import Console

from ..batch.job import Batch
from ..batch.messages import Ready
from ..batch.rows import Row, is_failed
from ..batch.tally import Tally, described
from ..boundary.reading import to_json
from ..errors import printable
from .progress import progress_bar

TOLD = 20
"""Errors that are told; more are in the table alone."""


class Screen:
    """Shows a run. A context manager."""

    def __init__(self, console: Console, batch: Batch, tally: Tally, *, quiet: bool) -> None:
        self._console, self._batch, self._tally, self._quiet = console, batch, tally, quiet
        self._greeted = False
        self._stack = ExitStack()

    def __enter__(self) -> Screen:
        self._bar = self._stack.enter_context(progress_bar(self._console, quiet=self._quiet))
        self._task = self._bar.add_task("looking what is done", total=self._of[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def _of(self) -> tuple[int, int]:
        """How much is done of how much: photos, or shards where nobody knows how many photos there are."""
        tally, batch = self._tally, self._batch
        if batch.plan.photos is not None and batch.part == (1, 1):
            return tally.photos + tally.skipped, batch.plan.photos
        return tally.shards + tally.shards_skipped, len(batch.numbers)

    def heard(self, row: Row | None, ready: Ready | None) -> None:
        """See `Heard`."""
        if ready is not None and not self._greeted and not self._quiet:
            self._greeted = True
            self._say(f"engines: {ready.backend}, {ready.precision}")
        if row is not None and is_failed(row):
            self._complain(row)
        done, total = self._of
        left = total - done if self._batch.plan.photos is not None and self._batch.part == (1, 1) else None
        self._bar.update(self._task, completed=done, description=described(self._tally, left))

    def _complain(self, row: Row) -> None:
        if self._tally.failed <= TOLD:
            self._say(f"error: {row['error']}")
        elif self._tally.failed == TOLD + 1:
            self._say("more photos failed; their errors are in the table")

    def _say(self, line: str) -> None:
        self._console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def end(self, as_json: bool) -> None:
        """Say what came of it all."""
        tally, output = self._tally, str(self._batch.table.folder)
        summary = tally.summary(output)
        if as_json:
            click.echo(to_json(summary).decode())
            return
        if not tally.shards:
            again = f", {tally.failed_before} of them failed (--retry-failed tries them again)"
            told = f"{tally.skipped} photos were done before{again * bool(tally.failed_before)}, in {output}"
            click.echo(f"nothing to do: {told}", err=True)
            return
        before = f", {tally.skipped} were done before" if tally.skipped else ""
        failed = tally.failed + tally.failed_before
        told = f"{tally.photos} photos done, {failed} of all failed{before}, in {output}: {described(tally, None)}"
        click.echo(told, err=True)
