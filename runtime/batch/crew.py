"""A crew: workers on this machine, and who watches them. A worker that ends costs the photo that it ended on, at most.

Rows are handed over photo by photo. So a worker that is killed, or that dies of a photo, takes nothing with it but what
was in work; its portion goes on in another process. A photo that two workers died of becomes a row of an error; so do
all photos behind one that two workers died of before they had it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import wait
from types import TracebackType

from ..errors import EngineError
from ..reporting import logger
from .hand import Hand
from .messages import Begun, Done, Ended, Ready, Spec, Work
from .rows import Row, TimeLimitError, WorkerDiedError, failed

log = logger("batch")

STRIKES = 2
"""Workers that may end on a photo before it is given up."""

LOOK = 5.0
"""Seconds after which the crew is looked at, if nothing is heard."""


def nothing(row: Row) -> None:
    """Takes no note of a photo's row."""


class Crew:
    """Workers. A context manager."""

    def __init__(self, spec: Spec, workers: int, time_limit: float | None = None) -> None:
        """Start workers; their engines open side by side.

        Args:
            spec: what each does.
            workers: processes.
            time_limit: seconds that a photo may take; None means any.
        """
        self._spec, self._limit = spec, time_limit
        self._again: deque[Work] = deque()
        self._in_vain = 0  # workers that ended since a photo was done
        self._most_in_vain = 2 * workers + 2
        self._peaks = [0] * workers
        self._told: Callable[[Row], None] = nothing
        self._hands = [Hand(spec) for _ in range(workers)]

    opened: Ready | None = None
    """What the first worker said when it was open; None before."""

    opened_at = 0.0
    """When that was, by `time.monotonic`."""

    @property
    def peak(self) -> int:
        """Bytes of memory that the workers took at most, each by itself, together."""
        return sum(max(pair) for pair in zip(self._peaks, (hand.peak for hand in self._hands), strict=True))

    def run(self, pending: Iterable[Work], told: Callable[[Row], None] = nothing) -> Generator[Work, None, None]:
        """Do portions, one a worker at a time.

        Args:
            pending: taken as workers are free.
            told: hears of every row, in the order in which photos are done.

        Returns:
            An iterator of the portions, as they are done.

        Raises:
            OvdeployError: what would befall every photo.
            EngineError: workers end again and again, and do nothing.
        """
        waiting, self._told = iter(pending), told
        while True:
            self._employ(waiting)
            if all(hand.work is None for hand in self._hands):
                return
            heard = wait([hand.connection for hand in self._hands], self._patience())
            for place, hand in enumerate(self._hands):
                if hand.connection in heard and (done := self._hear(place, hand)) is not None:
                    yield done
            self._end_overdue()

    def _employ(self, waiting: Iterator[Work]) -> None:
        """Give work to those that have none; what a worker left goes first."""
        for hand in self._hands:
            if hand.work is None:
                work = self._again.popleft() if self._again else next(waiting, None)
                if work is None:
                    return
                log.info("shard %d is given to a worker", work.number)
                hand.give(work)

    def _patience(self) -> float:
        deadlines = [at for hand in self._hands if (at := hand.deadline(self._limit)) is not None]
        return max(0.0, min([LOOK, *(at - time.monotonic() for at in deadlines)]))

    def _hear(self, place: int, hand: Hand) -> Work | None:
        """Take what a worker says; the portion, if it is done with it."""
        message = hand.heard()
        if message is None:
            return self._died(place, hand)
        if isinstance(message, Ready) and self.opened is None:
            self.opened, self.opened_at = message, time.monotonic()
        elif isinstance(message, Done):
            self._in_vain = 0
            self._told(message.row)
        elif isinstance(message, Ended):
            done, hand.work = hand.work, None
            return done
        return None

    def _died(self, place: int, hand: Hand) -> Work | None:
        """Replace a worker that ended by itself. Each photo that it had in work has a strike.

        Returns:
            Its portion, if that is given up.
        """
        why = hand.how_it_ended()
        self._in_vain += 1
        if self._in_vain > self._most_in_vain:
            raise EngineError(f"workers end again and again, and do nothing: the last one with {why}")
        log.warning("a worker ended with %s; its photos are done by another", why)
        work = hand.work
        given_up = work is not None and self._struck(work, hand, why)
        hand.work = None if given_up else work
        self._replace(place, hand)
        return work if given_up else None

    def _struck(self, work: Work, hand: Hand, why: str) -> bool:
        """Note whom a worker ended on. Whether all of its portion is given up."""
        for begun in hand.in_work:
            self._strike(work, begun, why)
        return not hand.in_work and hand.ready is not None and self._strike_finding(work, why)

    def _strike(self, work: Work, begun: Begun, why: str) -> None:
        count = work.strikes[begun.number] = work.strikes.get(begun.number, 0) + 1
        if count >= STRIKES:
            error = WorkerDiedError(f"{begun.name}: {count} workers ended on this photo, the last one with {why}")
            self._give_up(work, failed(begun.number, begun.name, error))

    def _strike_finding(self, work: Work, why: str) -> bool:
        """A worker ended with no photo in work: on finding the next one, as in decoding Parquet.

        Whoever comes next must find that photo too, also where it is passed over. So all that follow are given up.
        """
        first = work.first_not_done
        count = work.unfound[first] = work.unfound.get(first, 0) + 1
        if count < STRIKES:
            return False
        end = first + 1 if work.portion.count is None else work.portion.count
        for number in range(first, end):
            if number not in work.rows:
                name = work.portion.called(number)
                error = WorkerDiedError(f"{name}: {count} workers ended on finding it, the last one with {why}")
                self._give_up(work, failed(number, name, error))
        return True

    def _give_up(self, work: Work, row: Row) -> None:
        self._in_vain = 0
        work.add(row)
        self._told(row)

    def _end_overdue(self) -> None:
        """End the workers whose photo takes too long. It gets the row of an error, if it had the engines to itself;
        else it is tried once more, alone."""
        for place, hand in enumerate(self._hands):
            deadline = hand.deadline(self._limit)
            if hand.work is None or deadline is None or time.monotonic() < deadline or hand.connection.poll():
                continue
            begun = hand.in_work[0]
            if hand.alone or len(hand.in_work) == 1:
                why = f"{begun.name}: it took longer than {self._limit:g} s, the most that a photo may"
                self._give_up(hand.work, failed(begun.number, begun.name, TimeLimitError(why)))
            else:
                hand.work.strikes.setdefault(begun.number, 0)
            self._replace(place, hand)

    def _replace(self, place: int, hand: Hand) -> None:
        hand.kill()
        self._peaks[place] = max(self._peaks[place], hand.peak)
        if hand.work is not None:
            self._again.append(hand.work)
        self._hands[place] = Hand(self._spec)

    def close(self) -> None:
        """End all workers."""
        for hand in self._hands:
            hand.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
