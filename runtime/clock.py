"""Wall-clock times per step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


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
