"""Capacity on paper: a discrete simulation, in plain Python, of a very large batch on many workers.

Workers take shards from one queue. A shard takes as long as its photos, each drawn from times that were measured; some
workers are slower than the others, as machines are; a worker fails at random moments, loses what it had in work, and is
away for a while. Photos are not drawn one by one: a shard's time is drawn from sums of many draws.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

SUMS = 2000
"""Shards whose photos are drawn one by one; others are drawn from these."""

MOST_DRAWS = 1 << 23
"""Photos that are drawn for them together; of larger shards fewer are drawn, and their spread is a normal one."""

BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Workers, and what befalls them."""

    workers: int
    failures_per_hour: float = 0.0
    """Of a worker: how often it is lost, with what it had in work."""
    away: float = 120.0
    """Seconds until one that was lost opens its engines again."""
    opening: float = 10.0
    """Seconds that this takes."""
    slow_share: float = 0.0
    """Of workers that straggle."""
    slow_factor: float = 3.0
    """How many times longer these take."""
    copies: bool = False
    """Whether workers that find the queue empty do over what others are at; the first to end counts."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is to be done."""

    photos: int
    shard: int
    """Photos of a shard."""
    seconds: np.ndarray = field(repr=False)
    """[N] float64, of photos that were measured; drawn from with replacement."""
    overhead: float = 0.1
    """Seconds of a shard beside its photos: handing over, writing."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What it took, in hours."""

    end: float
    """From the beginning to the last shard."""
    ideal: float
    """Of one worker: the photos alone."""
    lost: float
    """Of workers: work that was lost with them, or done twice."""
    tail: float
    """From the moment at which the queue was empty for good to the end."""
    failures: int
    workers: int

    @property
    def efficiency(self) -> float:
        """Share of the workers' hours that the photos alone would have taken."""
        return self.ideal / (self.end * self.workers)


def measured(edges: Sequence[float], counts: Sequence[int]) -> np.ndarray:
    """Seconds of photos from a histogram of `ovdeploy batch --json`, each at the middle of its bin.

    Args:
        edges: N + 1, ascending.
        counts: N.
    """
    bounds = np.asarray(edges, np.float64)
    return np.repeat(np.sqrt(bounds[:-1] * bounds[1:]), np.asarray(counts))


def simulated(load: Load, fleet: Fleet, seed: int = 0) -> Outcome:
    """Run a load on a fleet."""
    return _Run(load, fleet, np.random.default_rng(seed)).outcome()


FREE, DONE, LOST = range(3)


class _Run:
    def __init__(self, load: Load, fleet: Fleet, rng: np.random.Generator) -> None:
        self._load, self._fleet = load, fleet
        self._queue = deque(range(-(-load.photos // load.shard)))
        self._left = len(self._queue)
        self._takes, self._lives = _blocks(_sums(load, rng), rng), _exponential(fleet.failures_per_hour / 3600, rng)
        self._factor = np.where(rng.random(fleet.workers) < fleet.slow_share, fleet.slow_factor, 1.0).tolist()
        self._events = [(fleet.opening, worker, FREE, 0) for worker in range(fleet.workers)]
        self._turn = [0] * fleet.workers  # events of an earlier turn of a worker count no more
        self._at: dict[int, tuple[int, float]] = {}  # worker: its shard, and since when
        self._runners: dict[int, list[int]] = {}  # shard: its workers
        self._idle: set[int] = set()
        self._lost, self._failures, self._empty = 0.0, 0, 0.0

    def outcome(self) -> Outcome:
        now = 0.0
        heapq.heapify(self._events)
        steps = {FREE: self._take, DONE: self._end, LOST: self._lose}
        while self._left:
            now, worker, kind, turn = heapq.heappop(self._events)
            if turn == self._turn[worker]:
                steps[kind](now, worker)
        ideal = self._load.photos * float(self._load.seconds.mean()) / 3600
        return Outcome(
            end=now / 3600, ideal=ideal, lost=self._lost / 3600, tail=(now - self._empty) / 3600,
            failures=self._failures, workers=self._fleet.workers,
        )  # fmt: skip

    def _take(self, now: float, worker: int) -> None:
        """A worker is free: it takes a shard, or copies one, or waits."""
        shard = self._queue.popleft() if self._queue else self._copied()
        if shard is None:
            self._idle.add(worker)
            return
        if not self._queue:
            self._empty = self._empty or now
        self._at[worker] = (shard, now)
        self._runners.setdefault(shard, []).append(worker)
        takes, lives = next(self._takes) * self._factor[worker] + self._load.overhead, next(self._lives)
        kind = DONE if takes <= lives else LOST
        heapq.heappush(self._events, (now + min(takes, lives), worker, kind, self._turn[worker]))

    def _copied(self) -> int | None:
        """The shard that one worker alone has been at for longest."""
        alone = [(self._at[runners[0]][1], shard) for shard, runners in self._runners.items() if len(runners) == 1]
        return min(alone)[1] if alone and self._fleet.copies else None

    def _end(self, now: float, worker: int) -> None:
        """A shard is done. Who is at it too stops."""
        shard, _ = self._at[worker]
        self._left -= 1
        for each in self._runners.pop(shard):
            _, since = self._at.pop(each)
            self._lost += 0.0 if each == worker else now - since
            self._turn[each] += 1
            self._take(now, each)

    def _lose(self, now: float, worker: int) -> None:
        """A worker is lost; its shard is given again, unless another is at it."""
        shard, since = self._at.pop(worker)
        self._lost, self._failures = self._lost + now - since, self._failures + 1
        self._runners[shard].remove(worker)
        self._turn[worker] += 1
        back = now + self._fleet.away + self._fleet.opening
        heapq.heappush(self._events, (back, worker, FREE, self._turn[worker]))
        if not self._runners[shard]:
            del self._runners[shard]
            self._queue.append(shard)
            self._empty = 0.0
            if self._idle:
                self._take(now, self._idle.pop())


def _sums(load: Load, rng: np.random.Generator) -> np.ndarray:
    """[N] float64, seconds of whole shards."""
    count = min(SUMS, MOST_DRAWS // load.shard)
    if count >= SUMS // 10:
        return np.array([rng.choice(load.seconds, load.shard).sum() for _ in range(count)])
    mean, spread = load.seconds.mean() * load.shard, load.seconds.std() * np.sqrt(load.shard)
    return np.maximum(rng.normal(mean, spread, SUMS), 0.0)


def _blocks(values: np.ndarray, rng: np.random.Generator) -> Iterator[float]:
    """Values at random, for ever."""
    while True:
        yield from rng.choice(values, BLOCK).tolist()


def _exponential(rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Seconds until something that befalls a worker at this rate, for ever."""
    while True:
        yield from (rng.exponential(1 / rate, BLOCK) if rate else np.full(BLOCK, np.inf)).tolist()
