"""CUDA graphs of an execution context, one per shape, kept where they measure faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..arrays import Block
from ..errors import EngineError
from .cuda import Cuda

REPEATS = 10
"""Runs of each kind that decide whether a graph is faster."""

FASTER = 0.98
"""A graph's share of the plain time below which it is kept: less is noise."""

LATEST = 8
"""Calls that are remembered, and so shapes that a session may hold graphs for after one tuning."""


class Call(NamedTuple):
    """What one enqueue depends on: the inputs' shapes, and every tensor's address."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    addresses: tuple[tuple[str, int], ...]


class Graphs:
    """Enqueues calls: as a graph those for which one was kept, plainly all others.

    Attributes:
        report: by shape, what `tune` measured or what kept it from capturing.
    """

    def __init__(self, cuda: Cuda, prepare: Callable[[Call], None], execute: Callable[[], None]) -> None:
        """Graphs of one context.

        Args:
            cuda: the GPU and its stream.
            prepare: sets a call's shapes and addresses.
            execute: enqueues what is set.
        """
        self._cuda, self._prepare, self._execute = cuda, prepare, execute
        self._graphs: dict[Call, Any] = {}
        self._latest: dict[Call, list[tuple[Block, int]]] = {}
        self.report: dict[str, str] = {}

    def enqueue(self, call: Call, blocks: Iterable[Block]) -> None:
        """Enqueue a call.

        Args:
            call: its shapes and addresses.
            blocks: the memory that the addresses lie in.
        """
        self._prepare(call)  # with a graph too: the context tells the outputs' shapes
        if call in self._graphs:
            self._cuda.launch(self._graphs[call])
            return
        self._latest.pop(call, None)
        self._latest[call] = [(block, block.pointer) for block in blocks]
        if len(self._latest) > LATEST:
            del self._latest[next(iter(self._latest))]
        self._execute()

    def tune(self) -> None:
        """Try a graph for each of the latest calls whose memory is still there."""
        for call, blocks in self._latest.items():
            if all(block.pointer == pointer for block, pointer in blocks):
                self._try(call)
        self._latest.clear()

    def close(self) -> None:
        """Free the graphs."""
        for graph in self._graphs.values():
            self._cuda.forget(graph)
        self._graphs.clear()

    def _try(self, call: Call) -> None:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in call.shapes)
        self._prepare(call)
        plain = self._cuda.milliseconds(self._execute, REPEATS)
        try:
            graph = self._cuda.capture(self._execute)
        except EngineError as error:
            self.report[told] = f"enqueued: {error}"
            return
        launched = self._cuda.milliseconds(lambda: self._cuda.launch(graph), REPEATS)
        kept = launched < FASTER * plain
        if kept:
            self._graphs[call] = graph
        else:
            self._cuda.forget(graph)
        self.report[told] = f"{'graph' if kept else 'enqueued'}: {launched:.3f} ms as a graph, {plain:.3f} ms without"
