"""Reports of work: what goes on, by one signature for all, and the time that each step took."""

from __future__ import annotations

import time
from collections.abc import Iterator
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


class Clock:
    """Adds up milliseconds by name; `total` is the time since the clock was made."""

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
            self._steps[name] = self._steps.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def timings(self) -> dict[str, float]:
        """Milliseconds per step in the order in which they were first seen, and in total."""
        return {**self._steps, "total": (time.perf_counter() - self._start) * 1e3}
