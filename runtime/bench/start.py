"""Starting runners and products, each in its own process, and what does not start here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..errors import EngineError
from ..reporting import Reporter
from ..words.vocabulary import Vocabulary
from .plan import ProductSpec, RunnerSpec, Spec
from .process import Process
from .report import ColdStart

Start = Callable[[Spec], Process]


@dataclass(frozen=True)
class Opened:
    """A runner that works."""

    spec: RunnerSpec
    process: Process
    cold_starts: tuple[ColdStart, ...]


def open_runners(
    specs: Sequence[RunnerSpec],
    required: Collection[str],
    photo: np.ndarray,
    vocabulary: Vocabulary,
    starts: int,
    stack: ExitStack,
    say: Reporter,
    start: Start,
) -> tuple[dict[str, Opened], dict[str, str]]:
    """Start every runner and let it segment a first photo.

    Args:
        specs: what to start.
        required: labels of those that must work; others are left out if they do not.
        photo: [H, W, 3] uint8 RGB.
        vocabulary: the classes.
        starts: how often each is started; the last process stays.
        stack: closes the processes.
        say: told what goes on.
        start: starts a process.

    Returns:
        Those that work by label, and why the others do not.

    Raises:
        EngineError: a required one fails, or none works.
    """
    opened: dict[str, Opened] = {}
    left_out: dict[str, str] = {}
    for spec in specs:
        say(f"starting {spec.label}")
        try:
            colds = []
            for _ in range(starts - 1):
                with start(spec) as process:
                    colds.append(cold_start(process, photo, vocabulary))
            process, last = _started(spec, photo, vocabulary, start)
        except EngineError as error:
            if spec.label in required:
                raise
            left_out[spec.label] = str(error).removeprefix(f"{spec.label}: ")
            continue
        stack.enter_context(process)
        opened[spec.label] = Opened(spec, process, (*colds, last))
    if not opened:
        told = "; ".join(f"{label}: {why}" for label, why in left_out.items())
        raise EngineError(f"no runner works here, so there is nothing to measure. {told}")
    return opened, left_out


def cold_start(process: Process, photo: np.ndarray, vocabulary: Vocabulary) -> ColdStart:
    """Let a process that was just started segment its first photo."""
    outcome = process.run(photo, vocabulary)
    total = (perf_counter() - process.started) * 1e3
    return ColdStart(total=total, opening=process.opened_ms, first_photo=outcome.milliseconds)


def _started(spec: Spec, photo: np.ndarray, vocabulary: Vocabulary, start: Start) -> tuple[Process, ColdStart]:
    process = start(spec)
    try:
        return process, cold_start(process, photo, vocabulary)
    except BaseException:
        process.close()
        raise


class Products:
    """The products that work here, measured before every round.

    Attributes:
        seconds: the shortest of every round, by label and precision.
    """

    def __init__(self, specs: Sequence[ProductSpec], stack: ExitStack, say: Reporter, start: Start) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = {}
        self._processes: list[tuple[ProductSpec, Process]] = []
        for spec in specs:
            say(f"starting the product of {spec.label}")
            try:
                self._processes.append((spec, stack.enter_context(start(spec))))
            except EngineError:
                continue  # not installed, or not in this precision: the best of the others counts

    def measure(self) -> None:
        """Compute all of them once more."""
        for spec, process in self._processes:
            self.seconds.setdefault((spec.label, spec.precision), []).append(process.call("seconds"))
