"""How commands show what goes on: lines, a status line, bars; where nothing moves, a plain line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.text import Text

from ..reporting import Reporter

INTERVAL = 5.0
"""Seconds between two lines that say how far work is, where no bar can be drawn."""


def line_reporter(console: Console, status: Status | None = None) -> Reporter:
    """Shows every event as a line; with a status line, what merely goes on now there and results above it."""

    lines = Lines(console)

    def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        if status is not None and not lasting:
            status.update(f"{about}: {event}" if about else event)
            lines.tell(f"{about}: {event}" if about else event)
        elif status is not None:
            console.print(f"{about:13} {event}", highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(f"{about}: {event}" if about else event, highlight=False, markup=False, soft_wrap=True)

    return tell


def status_reporter(status: Status) -> Reporter:
    """Shows what goes on now, and nothing of what was."""
    lines = Lines(status.console)

    def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        status.update(event)
        lines.tell(event)

    return tell


class Lines:
    """What goes on, where nothing moves: on what is no terminal, a plain line from time to time."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now, self._said = console, now, now()

    def tell(self, event: str) -> None:
        """Say it, if the last line is some seconds old and nothing moving shows it."""
        if not self._console.is_terminal and self._now() - self._said >= INTERVAL:
            self._said = self._now()
            self._console.print(event, highlight=False, markup=False, soft_wrap=True)


class Bars(Progress):
    """Bars that say how far they are in lines where no bar can be drawn."""

    def __init__(self, *columns: ProgressColumn, console: Console, **how: Any) -> None:
        super().__init__(*columns, console=console, **how)
        self._lines = Lines(console)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Change a task, as `Progress` does."""
        super().update(task_id, **fields)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Move a task on, as `Progress` does."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task = next((task for task in self.tasks if task.id == task_id), None)
        if self.disable or task is None or task.total is None:
            return
        done = f"{task.completed:.0f} of {task.total:.0f}" if task.total > 1 else f"{task.percentage:.0f}%"
        self._lines.tell(f"{Text.from_markup(task.description).plain}: {done}")


def progress_bar(console: Console, *columns: ProgressColumn, quiet: bool = False, transient: bool = False) -> Progress:
    """A bar that shows how far work is, with what is being done before it.

    Args:
        console: where it is shown.
        columns: what follows the bar; none means how many of how many are done, and the time that is left.
        quiet: whether nothing is shown.
        transient: whether it disappears at the end.
    """
    following = columns or (MofNCompleteColumn(), TimeRemainingColumn())
    named = TextColumn("{task.description}")
    shown = Console(quiet=True) if quiet else console  # a bar that is off ends with an empty line before rich 15
    return Bars(named, BarColumn(), *following, console=shown, disable=quiet, transient=transient)
