"""Which is faster, measured by taking turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median

from ...runtime.backends.registry import BACKENDS
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.opening import open_stage
from ...runtime.errors import BundleError, OvdeployError
from ...runtime.reporting import Reporter
from ...runtime.stage.precision import FP32, INT8
from .collect import Feeds

Now = Callable[[], float]
"""Seconds from some start: `time.perf_counter`."""


def take_turns(runs: Mapping[str, Callable[[], object]], rounds: int, now: Now) -> dict[str, float]:
    """Median milliseconds of every run, after one that does not count; a slow moment hits them all."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = now()
            run()
            times[name].append((now() - start) * 1e3)
    return {name: median(values) for name, values in times.items()}


def usable(bundle: Bundle, stage: str, backends: Sequence[str], tell: Reporter) -> list[str]:
    """The backends that can open a stage here.

    Raises:
        BundleError: none can.
    """
    found = []
    for backend in backends:
        try:
            open_stage(bundle, stage, FP32, backend).close()
            found.append(backend)
        except OvdeployError as error:
            tell(f"{backend} is left out: {error}")
    if not found:
        raise BundleError(f"none of the backends {', '.join(backends)} can run {stage} of {bundle.path} here")
    return found


def stage_times(
    bundle: Bundle, stage: str, feeds: Feeds, backends: list[str], rounds: int, now: Now, tell: Reporter
) -> dict[str, float]:
    """Median milliseconds of a stage's engines: every precision on every backend that can run it.

    Args:
        bundle: holds the stage quantised and in float.
        stage: its name.
        feeds: what it is fed.
        backends: what may run it; one that cannot is told of and left out.
        rounds: runs of each.
        now: the clock.
        tell: is told of what is left out.

    Returns:
        By "PRECISION on BACKEND".
    """
    found: dict[str, float] = {}
    for backend in backends:
        with ExitStack() as stack:
            runs: dict[str, Callable[[], object]] = {}
            for precision in (*bundle.stage(stage).engines, *BACKENDS[backend].makes):
                try:
                    session = stack.enter_context(open_stage(bundle, stage, precision, backend))
                except OvdeployError as error:
                    tell(f"{stage}: {precision} on {backend} is left out: {error}")
                    continue
                runs[f"{precision} on {backend}"] = partial(session.run_unchecked, feeds)
            found |= take_turns(runs, rounds, now)
    return found


def speedup(milliseconds: Mapping[str, float], precision: str = INT8) -> float:
    """The best other engine's time over the best one's in a precision; 0 if there is none, infinite without others."""
    own = [time for name, time in milliseconds.items() if name.startswith(f"{precision} ")]
    others = [time for name, time in milliseconds.items() if not name.startswith(f"{precision} ")]
    if not own:
        return 0.0
    return min(others) / min(own) if others else float("inf")
