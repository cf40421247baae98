"""Reports of work: what goes on, by one signature for all; the log; and the time that each step took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Reporter(Protocol):
    """Is told what goes on. Commands show it, tests write it down; with `about` given by `partial` it is one too."""

    def __call__(self, event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        """Take note of an event.

        Args:
            event: what happens, in words for people. Nothing is decided by them.
            about: what it happens to: a stage, or "pipeline"; empty for the work as a whole.
            share: how much of it is done, 0 to 1; None if nobody knows.
            lasting: whether it is a result, to be kept in sight, and not merely what goes on now.
        """


def silent(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
    """A reporter that tells nobody."""


ROOT = "ovdeploy"
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""What is told, by how often `--verbose` is given."""

logging.getLogger(ROOT).addHandler(logging.NullHandler())  # a library is silent until its user asks


def logger(room: str) -> logging.Logger:
    """The log of a room: `ovdeploy.ROOM`, which says nothing unless the user's program configures `logging`."""
    return logging.getLogger(f"{ROOT}.{room}")


@contextmanager
def logged(verbosity: int, tell: Callable[[str], object]) -> Iterator[None]:
    """While this holds, what the rooms log is told.

    Args:
        verbosity: 0 for warnings alone; 1 also for what is done; 2 in detail.
        tell: gets each line.
    """
    root, handler = logging.getLogger(ROOT), _Telling(tell)
    before = root.level
    root.setLevel(LEVELS[min(verbosity, len(LEVELS) - 1)])
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


class _Telling(logging.Handler):
    """Makes lines of records: warnings as the commands write theirs, others with seconds and the room."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._tell(f"warning: {record.getMessage()}")
        else:
            room = record.name.removeprefix(f"{ROOT}.")
            self._tell(f"{record.relativeCreated / 1e3:8.3f} s  {room}: {record.getMessage()}")


OVERLAP = "overlap"
"""The step that a clock's other steps count twice: milliseconds in which one went on beside another."""


class Clock:
    """Adds up milliseconds by name; `total` is the time since the clock was made.

    Several threads may time steps of different names.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._steps: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block under this name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter() - start) * 1e3)

    def add(self, name: str, milliseconds: float) -> None:
        """Count time under this name that was measured elsewhere."""
        self._steps[name] = self._steps.get(name, 0.0) + milliseconds

    def timings(self) -> dict[str, float]:
        """Milliseconds per step in the order in which they were first seen, and in total."""
        return {**self._steps, "total": (time.perf_counter() - self._start) * 1e3}
