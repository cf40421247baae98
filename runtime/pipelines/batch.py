"""Many photos: several at once, in their order, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ..backends.options import MOST_THREADS
from ..errors import ParameterError, shown

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_order(function: Callable[[Item], Answer], items: Iterable[Item], workers: int) -> Generator[Answer, None, None]:
    """Call a function on every item, on several at once, and give the answers in the items' order.

    Items are taken as they are needed, and at most one more than there are workers is in work or waits to be given. The
    first exception ends it. However it ends (also when the generator is closed), what is in work is waited for, and
    nothing new is begun.

    Args:
        function: called in threads.
        items: may be endless.
        workers: threads.

    Raises:
        ParameterError: there is no worker.
    """
    return _answers(function, iter(items), positive("workers", workers))


def positive(name: str, value: int) -> int:
    """A number of threads, or an error that names it.

    Raises:
        ParameterError: it is below 1, or above `MOST_THREADS`.
    """
    if not 1 <= value <= MOST_THREADS:
        raise ParameterError(f"{name}={shown(value)}: expected 1 to {MOST_THREADS}")
    return value


def _answers(function: Callable[[Item], Answer], items: Iterator[Item], workers: int) -> Generator[Answer, None, None]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ovdeploy")
    try:
        begun: deque[Future[Answer]] = deque(pool.submit(function, item) for item in islice(items, workers + 1))
        while begun:
            answer = begun.popleft().result()
            yield answer
            del answer  # else it would live until the next one is there
            begun.extend(pool.submit(function, item) for item in islice(items, 1))
    finally:
        pool.shutdown(cancel_futures=True)
