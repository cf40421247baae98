"""The tally of a run: photos, failures, time and memory, and how long photos took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

SCHEMA = "ovdeploy/batch-run/1"

BINS = np.geomspace(1e-4, 1e4, 321)
"""Edges of the bins that seconds a photo are counted in: 40 for each power of ten, so a bin is 6 % wide."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds a photo, from reading it to its mask. With several in work at once, waiting for the engines included."""

    photos: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float
    edges: list[float]
    """Of the bins that hold photos: N + 1."""
    counts: list[int]
    """Photos in each bin: N."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as `--json` tells it."""

    schema: str
    output: str
    photos: int
    """Whose rows were written now."""
    failed: int
    """Of these, the rows of errors."""
    skipped: int
    """Photos whose rows were there, and stay."""
    failed_before: int
    """Of these, the rows of errors."""
    shards: int
    """That were written now."""
    shards_skipped: int
    seconds: float
    """Of the run, engines' opening included."""
    photos_per_second: float
    """From when the first worker was open to the last shard."""
    engine_busy: float | None
    """Share of the workers' time in which their engines ran; None if no portion was done."""
    peak_bytes: int
    """Memory that workers took at most, each by itself, together."""
    times: Times | None


class Tally:
    """Counts what comes of a run."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._start = now, now()
        self._first: float | None = None
        self._last = self._start
        self._counts = np.zeros(len(BINS) - 1, np.int64)
        self._sum, self._longest = 0.0, 0.0
        self._worked, self._engines = 0.0, 0.0
        self.photos, self.failed, self.skipped, self.failed_before = 0, 0, 0, 0
        self.shards, self.shards_skipped, self.peak = 0, 0, 0

    def opened(self, at: float) -> None:
        """The first worker is open, and photos are done from now on.

        Args:
            at: when, by the tally's clock.
        """
        self._first = at if self._first is None else self._first

    def skip(self, rows: int, failed: int) -> None:
        """Count a shard that was there."""
        self.shards_skipped += 1
        self.skipped += rows
        self.failed_before += failed

    def keep(self, rows: int, failed: int = 0) -> None:
        """Count the photos of a shard that is written again, whose rows stay."""
        self.skipped += rows
        self.failed_before += failed

    def add(self, *, failed: bool) -> None:
        """Count a photo."""
        self.photos += 1
        self.failed += failed
        self._last = self._now()

    def end(self, seconds: Iterable[float], worked: float, engines: float, peak: int) -> None:
        """Count a shard that was written.

        Args:
            seconds: of its photos, each.
            worked: seconds that its worker took.
            engines: seconds of these in which engines ran.
            peak: bytes of memory that all workers took at most, together.
        """
        taken = np.fromiter(seconds, np.float64)
        self.shards += 1
        self._counts += np.histogram(np.clip(taken, BINS[0], BINS[-1]), BINS)[0]
        self._sum += float(taken.sum())
        self._longest = max([self._longest, *taken.tolist()])
        self._worked, self._engines = self._worked + worked, self._engines + engines
        self.peak = max(self.peak, peak)
        self._last = self._now()

    @property
    def rate(self) -> float:
        """Photos a second since the first worker was open."""
        since = self._start if self._first is None else self._first
        return self.photos / max(self._last - since, 1e-9) if self.photos else 0.0

    @property
    def busy(self) -> float | None:
        """Share of the workers' time in which their engines ran."""
        return self._engines / self._worked if self._worked else None

    def summary(self, output: str) -> Summary:
        """All of it."""
        return Summary(
            schema=SCHEMA, output=output, photos=self.photos, failed=self.failed, skipped=self.skipped,
            failed_before=self.failed_before, shards=self.shards, shards_skipped=self.shards_skipped,
            seconds=self._now() - self._start, photos_per_second=self.rate, engine_busy=self.busy,
            peak_bytes=self.peak, times=self._times(),
        )  # fmt: skip

    def _times(self) -> Times | None:
        held = np.flatnonzero(self._counts)
        if not held.size:
            return None
        first, last = int(held[0]), int(held[-1])
        counts = self._counts[first : last + 1]
        p50, p90, p99 = (self._quantile(share) for share in (0.5, 0.9, 0.99))
        total = int(counts.sum())
        return Times(
            photos=total, mean=self._sum / total, p50=p50, p90=p90, p99=p99, max=self._longest,
            edges=BINS[first : last + 2].tolist(), counts=counts.tolist(),
        )  # fmt: skip

    def _quantile(self, share: float) -> float:
        """Within a bin, as if its photos lay evenly."""
        sums = np.concatenate([[0], np.cumsum(self._counts)])
        return float(np.interp(share * sums[-1], sums, BINS))


def described(tally: Tally, left: int | None) -> str:
    """How far a run is, in some words: photos a second, engines, memory, and the time that is left.

    Args:
        tally: of the run.
        left: photos that are not done; None if nobody knows.
    """
    words: list[Any] = [f"{tally.rate:.3g} photos/s"]
    if tally.busy is not None:
        words += [f"engines {tally.busy:.0%} busy", f"{tally.peak / 1e9:.2g} GB"]
    if left is not None and tally.rate:
        words.append(f"{spoken(left / tally.rate)} left")
    return ", ".join(words)


def spoken(seconds: float) -> str:
    """A time in the words for people: `3:25:45`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
