"""Choosing ranges, balancing, and what stays float, by the error at a stage's outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from ...runtime.backends.options import SessionOptions
from ...runtime.backends.registry import open_session
from ...runtime.graph.model import save_model
from ...runtime.graph.probe import Probe
from ...runtime.graph.products import Product
from ...runtime.graph.search import agreement
from ...runtime.reporting import Reporter
from .ranges import limit_of, methods_for
from .stage import Balanced, Choice, Work
from .steps import Steps

BITS_CASES = 2
"""Cases on which weights of 8 and 7 bits are compared: it needs engines, not the probe."""


UNITS: dict[str, Callable[[Product], str]] = {
    "product": lambda product: product.node,
    "block": lambda product: product.block or product.node,
    "stage": lambda product: "",
}
"""Keys that products of one unit share."""


class Measured(msgspec.Struct, frozen=True):
    """How far a stage's outputs are from FP32, over the cases."""

    cosine: float
    """The worst output's, on the worst case."""
    relative: float
    """The worst output's, on average over the cases."""


class StageSearch:
    """The search of one stage. Every measurement is a step that is kept."""

    def __init__(self, work: Work, steps: Steps, backend: str, tell: Reporter) -> None:
        """A search.

        Args:
            work: the stage, observed.
            steps: keeps the measurements.
            backend: what runs the engines that are compared.
            tell: is told what is found.
        """
        self.work, self.settings, self.steps, self.backend, self.tell = work, work.settings, steps, backend, tell
        self.methods = methods_for(work.format, work.settings.ranges)
        self.bits = work.settings.weight_bits if work.format.integer else (8,)
        self._balanced: tuple[float, Balanced] | None = None
        self._probe: tuple[float, Probe] | None = None
        self._fp32: tuple[float, list[dict[str, np.ndarray]]] | None = None
        self._known: dict[tuple[float, str], dict[str, float]] = {}

    def find(self) -> Choice:
        """The choice with which the least error was measured and the least cosine holds."""
        try:
            table, smoothing, method = self._methods()
            limits, methods, errors = self._units(smoothing, method)
            every = tuple(product.node for product in self.work.products)
            measured = self._measure(smoothing, limits, every)
            table["search"] = measured.relative
            winner = min(table, key=lambda name: table[name])
            self.tell(", ".join(f"{name} {error:.4f}" for name, error in table.items()) + f": {winner} wins")
            if winner != "search":
                methods, limits = dict.fromkeys(limits, method), self._limits(smoothing, method)
            choice = Choice(
                smoothing=smoothing, method=method if winner != "search" else winner, limits=limits, methods=methods,
                on=every, errors=errors, table=table, cosine=1.0, relative=0.0,
            )  # fmt: skip
            return self._bits(self._until_cosine(choice))
        finally:
            self.close()

    def close(self) -> None:
        """Free the probe."""
        if self._probe is not None:
            self._probe[1].close()
            self._probe = None

    def units(self) -> list[list[Product]]:
        """Units that get one method, and go back to float together: products, blocks, or the whole stage."""
        found: dict[str, list[Product]] = {}
        for product in self.work.products:
            found.setdefault(UNITS[self.settings.search](product), []).append(product)
        return list(found.values())

    def _methods(self) -> tuple[dict[str, float], float, str]:
        """Every method with every strength of balancing, on all products at once."""
        every = [product.node for product in self.work.products]
        table: dict[str, float] = {}
        tried: dict[tuple[float, str], float] = {}
        for smoothing in self.settings.smoothing:
            for method in self.methods:
                measured = self._measure(smoothing, self._limits(smoothing, method), every)
                table[_named(method, smoothing)] = tried[smoothing, method] = measured.relative
        return table, *min(tried, key=lambda key: tried[key])

    def _units(self, smoothing: float, method: str) -> tuple[dict[str, float], dict[str, str], dict[str, float]]:
        """For every unit the method with the least error, it alone being quantised."""
        candidates = self.methods if self.settings.search != "stage" else (method,)
        by_method = {name: self._limits(smoothing, name) for name in candidates}
        limits: dict[str, float] = {}
        methods: dict[str, str] = {}
        errors: dict[str, float] = {}
        units = self.units()
        for index, unit in enumerate(units):
            on, values = [product.node for product in unit], {product.value for product in unit}
            found: dict[str, float] = {}
            for name in candidates:
                found[name] = self._measure(smoothing, by_method[name], on).relative
            best = min(found, key=lambda name: found[name])
            for value in values - set(limits):  # a value that several units read keeps the first one's
                limits[value], methods[value] = by_method[best][value], best
            errors |= dict.fromkeys(on, found[best])
            self.tell(f"{index + 1} of {len(units)}: {unit[0].block or unit[0].node} adds {found[best]:.2e} by {best}")
        return limits, methods, errors

    def _until_cosine(self, choice: Choice) -> Choice:
        """Put the most sensitive units back to float, 1, 2, 4, … at a time, until the outputs' cosine holds."""
        order = sorted(self.units(), key=lambda unit: -choice.errors[unit[0].node])
        gone = 0
        while True:
            back = {product.node for unit in order[:gone] for product in unit}
            on = tuple(node for node in choice.on if node not in back)
            measured = self._measure(choice.smoothing, choice.limits, on)
            if measured.cosine >= self.settings.cosine or not on:
                break
            self.tell(f"cosine {measured.cosine:.5f} with {len(on)} products quantised; putting more back to float")
            gone = max(1, 2 * gone)
        return msgspec.structs.replace(choice, on=on, cosine=measured.cosine, relative=measured.relative)

    def _bits(self, choice: Choice) -> Choice:
        """The number of bits of weights with which the engine itself, not the probe, has the least error."""
        if not choice.on:
            return choice
        found = {
            bits: self.steps.once(f"{self.work.stage}-bits{bits}", Measured, partial(self._of_engine, choice, bits))
            for bits in self.bits
        }
        best = min(found, key=lambda bits: found[bits].relative)
        self.tell(", ".join(f"weights of {b} bits: error {m.relative:.4f}" for b, m in found.items()))
        table = choice.table | {f"engine, {bits} bits": measured.relative for bits, measured in found.items()}
        return msgspec.structs.replace(
            choice, weight_bits=best, table=table, cosine=found[best].cosine, relative=found[best].relative
        )

    def _of_engine(self, choice: Choice, bits: int) -> Measured:
        cases = self.work.cases[:BITS_CASES]
        expected = self._expected(choice.smoothing)
        self.close()  # SAM's encoder takes gigabytes
        with TemporaryDirectory(prefix="ovdeploy-") as folder:
            path = Path(folder) / "quantised.onnx"
            save_model(self.work.quantised(msgspec.structs.replace(choice, weight_bits=bits)), path)
            options = SessionOptions(precision=self.work.precision)
            with open_session(path, self.work.contract, self.backend, options=options) as session:
                outputs = [session.run_unchecked(read()) for read in cases]
        return _measured(outputs, expected[: len(cases)])

    def _measure(self, smoothing: float, limits: Mapping[str, float], on: Collection[str]) -> Measured:
        """One measurement, kept under what it depends on, so that nothing is measured twice."""
        read = {product.value: limits[product.value] for product in self.work.products if product.node in on}
        what = msgspec.json.encode([smoothing, read, sorted(on)], order="deterministic")

        def run() -> Measured:
            expected, probe = self._expected(smoothing), self._opened(smoothing)
            return _measured([probe.run(read(), limits, on) for read in self.work.cases], expected)

        return self.steps.once(f"{self.work.stage}-{hashlib.sha256(what).hexdigest()[:20]}", Measured, run)

    def _limits(self, smoothing: float, method: str) -> dict[str, float]:
        if (smoothing, method) not in self._known:
            seen = self._graph(smoothing).seen
            values = dict.fromkeys(product.value for product in self.work.products)
            self._known[smoothing, method] = {
                value: limit_of(seen[value], method, self.work.format) for value in values
            }
        return self._known[smoothing, method]

    def _graph(self, smoothing: float) -> Balanced:
        if self._balanced is None or self._balanced[0] != smoothing:
            self._balanced = (smoothing, self.work.balanced(smoothing))
        return self._balanced[1]

    def _opened(self, smoothing: float) -> Probe:
        if self._probe is None or self._probe[0] != smoothing:
            self.close()
            work = self.work
            self._probe = (smoothing, Probe(self._graph(smoothing).model, work.contract, work.products, work.format))
        return self._probe[1]

    def _expected(self, smoothing: float) -> list[dict[str, np.ndarray]]:
        """FP32's outputs for every case."""
        if self._fp32 is None or self._fp32[0] != smoothing:
            probe = self._opened(smoothing)
            self._fp32 = (smoothing, [probe.run(read(), {}, ()) for read in self.work.cases])
        return self._fp32[1]


def _measured(outputs: Sequence[Mapping[str, np.ndarray]], expected: Sequence[Mapping[str, np.ndarray]]) -> Measured:
    found = [agreement(came, wanted) for came, wanted in zip(outputs, expected, strict=True)]
    return Measured(min(a.cosine for a in found), float(np.mean([a.relative for a in found])))


def _named(method: str, smoothing: float) -> str:
    return f"{method}, α {smoothing:g}" if smoothing else method
