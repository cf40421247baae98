"""CUDA graphs of an execution context, one per shape, kept where they measure faster."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ...errors import EngineError
from ...stage.arrays import Block
from .cuda import Cuda

REPEATS = 10
"""Runs of each kind that decide whether a graph is faster."""

FASTER = 0.98
"""A graph's share of the plain time below which it is kept: less is noise."""

LATEST = 8
"""Calls that are remembered, and so shapes that a session may hold graphs for after one tuning."""


class Call(NamedTuple):
    """Dependencies of one enqueue: the inputs' shapes, and every tensor's address."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    addresses: tuple[tuple[str, int], ...]


class Graphs:
    """Enqueues calls: as a graph those for which one was kept, plainly all others.

    A graph is tied to the state of the context that it was captured from, so each has a context of its own that is not
    touched again; the contexts of an engine share their scratch memory, for they run one after another.

    Attributes:
        report: by shape, what `tune` measured or what kept it from capturing.
    """

    def __init__(
        self,
        cuda: Cuda,
        new_context: Callable[[], Any],
        prepare: Callable[[Any, Call], None],
        execute: Callable[[Any], None],
    ) -> None:
        """Graphs of one engine.

        Args:
            cuda: the GPU and its stream.
            new_context: makes an execution context.
            prepare: sets a call's shapes and addresses in a context.
            execute: enqueues what is set.
        """
        self._cuda, self._new_context, self._prepare, self._execute = cuda, new_context, prepare, execute
        self._graphs: dict[Call, tuple[Any, Any]] = {}
        self._latest: dict[Call, list[tuple[weakref.ref[Block], int]]] = {}
        self.report: dict[str, str] = {}

    def enqueue(self, context: Any, call: Call, blocks: Iterable[Block]) -> Any:
        """Enqueue a call.

        Args:
            context: to be used where there is no graph.
            call: its shapes and addresses.
            blocks: the memory that the addresses lie in.

        Returns:
            The context that knows the outputs' shapes.
        """
        if call in self._graphs:
            of_graph, graph = self._graphs[call]
            self._cuda.launch(graph)
            return of_graph
        self._latest.pop(call, None)
        self._latest[call] = [(weakref.ref(block), block.pointer) for block in blocks]  # a kept photo's goes with it
        if len(self._latest) > LATEST:
            del self._latest[next(iter(self._latest))]
        self._prepare(context, call)
        self._execute(context)
        return context

    def tune(self) -> None:
        """Try a graph for each of the latest calls whose memory is still there."""
        for call, blocks in self._latest.items():
            there = [(block(), pointer) for block, pointer in blocks]
            if all(block is not None and block.pointer == pointer for block, pointer in there):
                self._try(call)
        self._latest.clear()

    def close(self) -> None:
        """Free the graphs and their contexts."""
        graphs = [graph for _, graph in self._graphs.values()]
        self._graphs.clear()
        for graph in graphs:
            self._cuda.forget(graph)

    def _try(self, call: Call) -> None:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in call.shapes)
        context = self._new_context()
        self._prepare(context, call)

        def execute() -> None:
            self._execute(context)

        plain = self._cuda.milliseconds(execute, REPEATS)  # which also does what a change of shapes left to be done
        try:
            graph = self._cuda.capture(execute)
        except EngineError as error:
            self.report[told] = f"enqueued: {error}"
            return
        launched = self._cuda.milliseconds(lambda: self._cuda.launch(graph), REPEATS)
        kept = launched < FASTER * plain
        if kept:
            self._graphs[call] = (context, graph)
        else:
            self._cuda.forget(graph)
        self.report[told] = f"{'graph' if kept else 'enqueued'}: {launched:.3f} ms as a graph, {plain:.3f} ms without"
