"""The search for islands: half precision everywhere, then FP32 where measurements ask for it.

First the weights that half cannot hold and the values that leave its range, which no tolerance excuses. Then, until the
emulated outputs agree with the reference: classes of nodes, single nodes by the error they add, whole blocks. What does
not bring the outputs closer is not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto

from ..backends.base import Session
from ..errors import ExportError
from ..reporting import Reporter, silent
from ..stage.compare import compare
from ..stage.contract import StageContract
from .emulate import emulated, model_session
from .half import largest, problem_weights, to_half
from .islands import CLASSES, StageIslands, island_nodes, node_blocks
from .model import MOVEMENT, View
from .taps import Tap, computed_values, watch

HEADROOM = 2.0
"""Values above half the range count as too large: another photo may have larger ones."""

IMPROVEMENT = 0.8
"""A class is kept if it brings the error to this part of what it was, or below."""

ROUNDS = 5
"""Of single nodes: 1, 2, 4, … at a time, each with its makers up to as many steps back."""

OWN_ROUNDING = {"fp16": 2.0**-11, "bf16": 2.0**-8}
"""Relative error of one rounding; a node whose error grows by less adds nothing of its own."""

Arrays = Mapping[str, np.ndarray]


class Case(NamedTuple):
    """Inputs of a stage, and the outputs it should give."""

    feeds: Arrays
    expected: Arrays


class Limits(NamedTuple):
    """Limits of what passes."""

    cosine: float
    """Least cosine of every output."""
    relative: float
    """Largest ‖came − expected‖ / ‖expected‖ of every output; a cosine does not see a wrong scale."""


class Agreement(NamedTuple):
    """How far the worst output is from the reference."""

    cosine: float
    relative: float

    def within(self, limits: Limits) -> bool:
        """Whether it passes."""
        return self.cosine >= limits.cosine and self.relative <= limits.relative


NOWHERE = Agreement(-1.0, float("inf"))
"""Of outputs that are not finite."""


def agreement(outputs: Arrays, expected: Arrays) -> Agreement:
    """The worst cosine and the worst relative error of a stage's outputs."""
    if not all(np.isfinite(outputs[name]).all() for name in expected):
        return NOWHERE
    found = [compare(outputs[name], array) for name, array in expected.items()]
    return Agreement(min(d.cosine for d in found), max(d.relative for d in found))


class IslandSearch:
    """The search for one stage's islands. `find` does all; the steps are its methods."""

    def __init__(
        self,
        model: ModelProto,
        contract: StageContract,
        cases: Sequence[Case],
        precision: str,
        limits: Limits,
        tell: Reporter = silent,
    ) -> None:
        """A search.

        Args:
            model: the FP32 graph, with named nodes.
            contract: of the stage.
            cases: at least one; of photos as they will be segmented.
            precision: `fp16` or `bf16`.
            limits: what passes.
            tell: is told what was found, line by line.
        """
        if not cases:
            raise ExportError(f"{contract.stage}: the search for islands needs a photo on which the stage runs")
        self.model, self.contract, self.cases = model, contract, list(cases)
        self.precision, self.limits, self.tell = precision, limits, tell
        self.view, self.blocks = View(model), node_blocks(model)
        self._exact: tuple[Case, dict[str, Tap]] | None = None

    def find(self, start: StageIslands | None = None) -> tuple[StageIslands, Agreement]:
        """The islands with which every case passes, and how well.

        Args:
            start: islands to keep and to go on from; None begins with none.

        Raises:
            ExportError: not even with FP32 in every block.
        """
        islands = start or _with(StageIslands(), nodes=self.weak_readers() | self.overflowing())
        for step in (self._by_classes, self._by_nodes, self._by_blocks):
            now = self.measure(islands)
            self._told(f"{_size(islands)}", now)
            if now.within(self.limits):
                return islands, now
            islands = step(islands, now)
        now = self.measure(islands)
        if not now.within(self.limits):
            raise ExportError(
                f"{self.contract.stage} does not reach cosine {self.limits.cosine:g} in {self.precision} even with all "
                f"blocks in FP32 (it has {now.cosine:.6f}, relative error {now.relative:.2g}); export it in FP32"
            )
        return islands, now

    def measure(self, islands: StageIslands) -> Agreement:
        """The worst agreement over all cases, and the case it comes from first from now on."""
        found = []
        with self._emulated_session(islands) as session:
            for case in self.cases:
                found.append(agreement(session.run_unchecked(case.feeds), case.expected))
        worst = min(range(len(found)), key=lambda i: found[i].cosine)
        self.cases.insert(0, self.cases.pop(worst))
        return Agreement(min(a.cosine for a in found), max(a.relative for a in found))

    def _emulated_session(self, islands: StageIslands) -> Session:
        """By itself, so that the graphs it is made from are free when it runs."""
        nodes = island_nodes(self.model, islands)
        return model_session(emulated(to_half(self.model, self.precision, nodes)), self.contract)

    def weak_readers(self) -> set[str]:
        """Nodes that read weights which half cannot hold."""
        weak = problem_weights(self.model, self.precision)
        found = {
            reader.name for name in weak for reader in (*self.view.consumers.get(name, ()), *self.view.readers(name))
        }
        if found:
            self.tell(
                f"{len(weak)} weights do not fit: {', '.join(f'{n} {what}' for n, what in list(weak.items())[:4])}"
            )
        return found

    def overflowing(self) -> set[str]:
        """Nodes that make or read values beyond the range, on any case, in the FP32 graph."""
        limit = largest(self.precision) / HEADROOM
        large = {name for case in self.cases for name, tap in self._exact_taps(case).items() if tap.largest > limit}
        large |= {name for case in self.cases for name, array in case.feeds.items() if _largest(array) > limit}
        found: set[str] = set()
        for node in self.model.graph.node:
            if large.intersection((*node.input, *node.output)):
                found.add(node.name)
                if node.op_type in MOVEMENT:
                    large.update(node.output)
        if found:
            self.tell(f"{len(found)} nodes make or read values above {limit:g}: {', '.join(sorted(found)[:6])}")
        return found

    def _by_classes(self, islands: StageIslands, now: Agreement) -> StageIslands:
        for name, members in ((name, find(self.view)) for name, find in CLASSES.items()):
            if not members or name in islands.classes:
                continue
            tried = _with(islands, classes={name})
            came = self.measure(tried)
            kept = _better(came, now)
            self._told(f"class {name}: {'kept' if kept else 'no help'}", came)
            islands, now = (tried, came) if kept else (islands, now)
            if now.within(self.limits):
                break
        return islands

    def _by_nodes(self, islands: StageIslands, now: Agreement) -> StageIslands:
        for turn in range(ROUNDS):
            growth = self._growth(islands)
            worst = sorted(growth, key=lambda name: -growth[name])[: 2**turn]
            islands = _with(islands, nodes={maker for name in worst for maker in self._makers(name, 2**turn)})
            now = self.measure(islands)
            self._told(f"nodes {', '.join(worst[:4])}", now)
            if not worst or now.within(self.limits):
                break
        return islands

    def _by_blocks(self, islands: StageIslands, now: Agreement) -> StageIslands:
        count = 1
        while left := sorted(set(self.blocks.values()) - set(islands.blocks)):
            added = dict.fromkeys(left, 0.0)
            for name, amount in self._growth(islands).items():
                if self.blocks.get(name) in added:
                    added[self.blocks[name]] += amount**2
            worst = sorted(left, key=lambda block: -added[block])[:count]
            islands, count = _with(islands, blocks=worst), 2 * count
            now = self.measure(islands)
            self._told(f"blocks {', '.join(worst)}", now)
            if now.within(self.limits):
                break
        return islands

    def _growth(self, islands: StageIslands) -> dict[str, float]:
        """By how much a node's relative error exceeds what comes in and its own rounding, on the worst case."""
        case, nodes = self.cases[0], island_nodes(self.model, islands)
        exact = self._exact_taps(case)
        half = emulated(to_half(self.model, self.precision, nodes))
        inner = [name for name in exact if name not in self.view.outputs]  # outputs have another name in there
        came = watch(half, self.contract, case.feeds, inner)
        error = {name: _relative(came[name].sample, exact[name].sample) for name in exact if name in came}
        growth: dict[str, float] = {}
        for name, amount in error.items():
            node = self.view.producer[name]
            before = max((self._error_in(value, error) for value in node.input if value), default=0.0)
            excess = amount - before - OWN_ROUNDING[self.precision]
            if excess > 0 and node.name not in nodes:
                growth[node.name] = max(excess, growth.get(node.name, 0.0))
        return growth

    def _error_in(self, value: str, error: Mapping[str, float]) -> float:
        maker = self.view.source(value)
        return max((error.get(name, 0.0) for name in maker.output), default=0.0) if maker is not None else 0.0

    def _makers(self, name: str, hops: int) -> set[str]:
        """A node and those that lead to it, some steps back: an error that is amplified was made before."""
        found, edge = {name}, {name}
        for _ in range(hops):
            sources = (self.view.source(value) for node in edge for value in self.view.nodes[node].input if value)
            edge = {source.name for source in sources if source is not None} - found
            found |= edge
        return found

    def _exact_taps(self, case: Case) -> dict[str, Tap]:
        """Of the FP32 graph; the last case's are kept."""
        if self._exact is None or self._exact[0] is not case:
            taps = watch(self.model, self.contract, case.feeds, computed_values(self.model))
            self._exact = (case, taps)
        return self._exact[1]

    def _told(self, what: str, found: Agreement) -> None:
        told = "not finite" if found == NOWHERE else f"cosine 1−{1 - found.cosine:.1e}, relative {found.relative:.1e}"
        self.tell(f"{what}: {told}")


def _with(
    islands: StageIslands,
    classes: Collection[str] = (),
    nodes: Collection[str] = (),
    blocks: Collection[str] = (),
) -> StageIslands:
    """More islands; what was there stays first."""

    def more(old: tuple[str, ...], new: Collection[str]) -> tuple[str, ...]:
        return (*old, *sorted(set(new) - set(old)))

    return StageIslands(
        classes=more(islands.classes, classes), nodes=more(islands.nodes, nodes), blocks=more(islands.blocks, blocks)
    )


def _better(came: Agreement, before: Agreement) -> bool:
    if before == NOWHERE:
        return came != NOWHERE
    return came.relative <= IMPROVEMENT * before.relative


def _relative(came: np.ndarray, expected: np.ndarray) -> float:
    usable = np.isfinite(expected)
    if not np.isfinite(came[usable]).all():
        return float("inf")
    return compare(came[usable], expected[usable]).relative


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) if array.dtype.kind == "f" else 0.0


def _size(islands: StageIslands) -> str:
    return f"{len(islands.classes)} classes, {len(islands.nodes)} nodes, {len(islands.blocks)} blocks"
