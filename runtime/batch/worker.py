"""A worker's own process: opens a bundle, and does portions until its parent hangs up, or is gone.

Started as `python -m ovdeploy.runtime.batch.worker FD`, where FD is one end of a pipe. The first message is the `Spec`,
every other an `Order`; it tells of each photo that it begins and that it has done.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

from ..answers.result import Result
from ..backends.base import Session
from ..bench.memory import own_memory
from ..errors import OF_ONE_PHOTO, BundleError, EngineError, OvdeployError, OvdeployWarning, PhotoError
from ..photo.reading import Readable
from ..photo.stored import Known
from ..pipelines.base import Segmenter
from ..reporting import logged
from ..stage.arrays import Array
from .messages import Begun, Done, Ended, Message, Order, Ready, Refused, Spec
from .photos import BrokenPhoto
from .rows import Row, answered, failed


class Parent:
    """The other end: several threads may tell it something. Where it is gone, this process ends at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._telling = connection, threading.Lock()
        self.spec: Spec = connection.recv()
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self.orders.put(self._connection.recv())
            except (EOFError, OSError):
                os._exit(0)  # also in the midst of a photo: nobody waits for it

    def tell(self, message: Message) -> None:
        """Tell it something."""
        with self._telling:
            self._connection.send(message)


class Timed(Session):
    """A session that notes how long its engine runs, and is otherwise the one that it wraps."""

    def __init__(self, inner: Session, watch: Watch) -> None:
        super().__init__(inner.contract)
        self.device = inner.device
        self._inner, self._watch = inner, watch

    def put(self, name: str, array: np.ndarray) -> Array:
        """As the wrapped session does."""
        return self._inner.put(name, array)

    def empty(self, name: str, **sizes: int) -> Array:
        """As the wrapped session does."""
        return self._inner.empty(name, **sizes)

    def keep(self, array: Array) -> Array:
        """As the wrapped session does."""
        return self._inner.keep(array)

    def tune(self) -> None:
        """As the wrapped session does."""
        self._inner.tune()

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        with self._watch:
            return self._inner.run_unchecked(feeds, into)

    def _free(self) -> None:
        self._inner.close()


class Watch:
    """The time in which at least one engine runs."""

    def __init__(self) -> None:
        self._lock, self._running, self._since = threading.Lock(), 0, 0.0
        self.seconds = 0.0

    def wrap(self, session: Session) -> Session:
        """Watch a session too."""
        return Timed(session, self)

    def __enter__(self) -> None:
        with self._lock:
            self._since = time.perf_counter() if not self._running else self._since
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            self.seconds += 0.0 if self._running else time.perf_counter() - self._since


class _Told(Readable):
    """A photo whose beginning is told."""

    def __init__(self, number: int, photo: Known, parent: Parent) -> None:
        self.name, self.number, self.photo, self._parent = photo.name, number, photo, parent
        self.since = time.perf_counter()

    def read(self, max_pixels: int) -> np.ndarray:
        """See `Readable.read`."""
        self.since = time.perf_counter()
        self._parent.tell(Begun(self.number, self.photo.name))
        return self.photo.read(max_pixels)


def serve(parent: Parent) -> None:
    """Do what a parent orders until it hangs up."""
    spec, watch = parent.spec, Watch()
    try:
        with Segmenter.load(spec.bundle, parameters=spec.parameters, wrap=watch.wrap, **spec.opening) as segmenter:
            if segmenter.engines.bundle != spec.digest:
                raise BundleError(f"{spec.bundle} is another bundle here than where the batch was begun")
            parent.tell(Ready(segmenter.backend, segmenter.precision))
            while True:
                _do(parent.orders.get(), parent, segmenter, watch)
    except OvdeployError as error:
        parent.tell(Refused(error))


def _do(order: Order, parent: Parent, segmenter: Segmenter, watch: Watch) -> None:
    """Do a portion, and tell of each photo."""
    start, ran = time.perf_counter(), watch.seconds
    counted, begun = [0], deque[_Told]()
    wanted = _wanted(order, parent, counted, begun)
    many = partial(segmenter.segment_many, vocabulary=parent.spec.vocabulary, workers=parent.spec.at_once)
    for result in chain.from_iterable(many([photo]) for photo in wanted) if order.alone else many(wanted):
        told = begun.popleft()
        row, seconds = _row(told, result, parent.spec.columns), _seconds(told, result)
        parent.tell(Done(row, seconds))
    parent.tell(Ended(counted[0], time.perf_counter() - start, watch.seconds - ran, own_memory().peak))


def _wanted(order: Order, parent: Parent, counted: list[int], begun: deque[_Told]) -> Iterator[_Told]:
    """The photos of a portion that are to be done; all are counted."""
    for number, photo in _numbered(order):
        counted[0] = number + 1
        if number not in order.passed:
            begun.append(_Told(number, photo, parent))
            yield begun[-1]


def _numbered(order: Order) -> Iterator[tuple[int, Known]]:
    """Photos with their numbers.

    An error that stands for the rest of a file stands behind all that were done, else it would take the place of one
    of them. So does one for photos that are gone.
    """
    number, least = -1, max(order.passed, default=-1) + 1
    for number, photo in enumerate(order.portion.photos()):
        if isinstance(photo, BrokenPhoto) and photo.rest:
            yield max(number, least), photo
            return
        yield number, photo
    if number + 1 < least:
        why = f"{number + 1} photos are there, and {least} or more were: it is another file than it was"
        name = order.portion.called(least)
        yield least, BrokenPhoto(name, f"{name}: {why}")


def _row(told: _Told, result: Result | PhotoError | EngineError, columns: tuple[str, ...]) -> Row:
    try:
        if isinstance(result, Result):
            return answered(told.number, told.photo, result, columns)
        return failed(told.number, told.photo.name, result, told.photo)
    except OF_ONE_PHOTO as error:  # such as more instances than there may be
        return failed(told.number, told.photo.name, error, told.photo)


def _seconds(told: _Told, result: Any) -> float:
    if isinstance(result, Result) and "total" in result.timings:
        return float(result.timings["total"]) / 1e3
    return time.perf_counter() - told.since


def main(descriptor: int) -> None:
    """Serve the parent at a pipe's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too, and is the parent's to answer
    parent = Parent(Connection(descriptor))
    if parent.spec.threads is not None:
        cv2.setNumThreads(parent.spec.threads)
    warnings.simplefilter("ignore", OvdeployWarning)  # they are in the rows
    with logged(0, lambda line: print(line, file=sys.stderr, flush=True)):
        serve(parent)


if __name__ == "__main__":
    main(int(sys.argv[1]))
