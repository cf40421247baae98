"""Work beside the caller's: an engine that has a stream of its own runs while others do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from ..reporting import OVERLAP, Clock, logger

Value = TypeVar("Value")

log = logger("pipelines")


@contextmanager
def beside(function: Callable[[], Value], at_once: bool, clock: Clock) -> Iterator[Callable[[], Value]]:
    """Have a function's value at hand in a block.

    Args:
        function: called once at most.
        at_once: whether to call it now, in a thread, beside what the block does. Else it is called by whoever first
            asks for the value, and not at all if nobody does.
        clock: gets, as `OVERLAP`, how long the function went on while nobody waited for it.

    Yields:
        What gives the value, waits for it, and raises what the function raised.

    Raises:
        Exception: the block's own; or what the function raised, if nobody asked. Either way it has ended by then.
    """
    if not at_once:
        yield cache(function)
        return
    took = waited = 0.0

    def timed() -> Value:
        nonlocal took
        start = time.perf_counter()
        try:
            return function()
        finally:
            took = time.perf_counter() - start

    def asked() -> Value:
        nonlocal waited
        start = time.perf_counter()
        try:
            return begun.result()
        finally:
            waited += time.perf_counter() - start

    with ThreadPoolExecutor(1, thread_name_prefix="ovdeploy-beside") as thread:  # which is waited for, come what may
        begun = thread.submit(copy_context().run, timed)  # in the caller's context, so that warnings are heard
        try:
            yield asked
        except BaseException as error:
            if (other := begun.exception()) not in (None, error):
                log.info("beside it failed as well: %s", other)
            raise
        asked()
    clock.add(OVERLAP, max(took - waited, 0.0) * 1e3)
