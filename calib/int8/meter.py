"""Measuring a stage's error with some of its products in eight bits. Every measurement is a step that is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np

from ...runtime.backends.cpu import this_processor
from ...runtime.backends.options import SessionOptions
from ...runtime.backends.registry import open_session
from ...runtime.backends.tried import library_version
from ...runtime.graph.model import save_model
from ...runtime.graph.probe import Probe
from ...runtime.graph.search import agreement
from .ranges import limit_of
from .stage import Balanced, Choice, Work
from .steps import Steps

BITS_CASES = 2
"""Cases on which engines are measured; more would take long."""

Strengths = Mapping[str, float]
"""Of balancing, by the site's name."""


class Measured(msgspec.Struct, frozen=True):
    """How far a stage's outputs are from FP32, over the cases."""

    cosine: float
    """The worst output's, on the worst case."""
    relative: float
    """The worst output's, on average over the cases."""


class Variant(NamedTuple):
    """What a probe is made for."""

    strengths: Strengths
    bits: int = 8
    """Of weights."""


class Meter:
    """Measures by the probe, and by engines. One probe is open at a time: SAM's encoder takes gigabytes."""

    def __init__(self, work: Work, steps: Steps, backend: str) -> None:
        """A meter.

        Args:
            work: the stage, observed.
            steps: keeps the measurements.
            backend: what runs the engines.
        """
        self.work, self._steps, self._backend = work, steps, backend
        self._balanced: tuple[Strengths, Balanced] | None = None
        self._probe: tuple[Variant, Probe] | None = None
        self._fp32: list[dict[str, np.ndarray]] | None = None

    def close(self) -> None:
        """Free the probe."""
        if self._probe is not None:
            self._probe[1].close()
            self._probe = None

    def of(self, variant: Variant, limits: Mapping[str, float], on: Collection[str]) -> Measured:
        """By the probe, kept under what it depends on, so that nothing is measured twice.

        Args:
            variant: the balancing, and the bits of weights.
            limits: by value.
            on: the products in eight bits.
        """
        read = {product.value: limits[product.value] for product in self.work.products if product.node in on}
        what = msgspec.json.encode([*variant, read, sorted(on)], order="deterministic")

        def run() -> Measured:
            expected, probe = self._expected(), self._opened(variant)
            return _measured([probe.run(case(), limits, on) for case in self.work.cases], expected)

        return self._steps.once(f"{self.work.stage}-{hashlib.sha256(what).hexdigest()[:20]}", Measured, run)

    def of_engine(self, choice: Choice) -> Measured:
        """By the engine of a choice, on a few cases."""
        where = (self._backend, library_version(self._backend), this_processor().shown)  # what saturates depends on it
        what = msgspec.json.encode([choice, *where], order="deterministic")

        def run() -> Measured:
            cases, expected = self.work.cases[:BITS_CASES], self._expected()
            self.close()
            with TemporaryDirectory(prefix="ovdeploy-") as folder:
                path = Path(folder) / "quantised.onnx"
                save_model(self.work.quantised(choice), path)
                options = SessionOptions(precision=self.work.precision)
                with open_session(path, self.work.contract, self._backend, options=options) as session:
                    outputs = [session.run_unchecked(case()) for case in cases]
            return _measured(outputs, expected[: len(cases)])

        return self._steps.once(f"{self.work.stage}-engine-{hashlib.sha256(what).hexdigest()[:20]}", Measured, run)

    def limits(self, strengths: Strengths, method: str) -> dict[str, float]:
        """Every value's limit by a method, after balancing."""
        seen = self._graph(strengths).seen
        values = dict.fromkeys(product.value for product in self.work.products)
        return {value: limit_of(seen[value], method, self.work.format) for value in values}

    def _graph(self, strengths: Strengths) -> Balanced:
        if self._balanced is None or self._balanced[0] != strengths:
            self._balanced = (strengths, self.work.balanced(strengths))
        return self._balanced[1]

    def _opened(self, variant: Variant) -> Probe:
        if self._probe is None or self._probe[0] != variant:
            self.close()
            work, model = self.work, self._graph(variant.strengths).model
            probe = Probe(model, work.contract, work.products, work.format, weight_bits=variant.bits)
            self._probe = (variant, probe)
        return self._probe[1]

    def _expected(self) -> list[dict[str, np.ndarray]]:
        """FP32's outputs for every case."""
        if self._fp32 is None:
            probe = self._opened(Variant({}))
            self._fp32 = [probe.run(case(), {}, ()) for case in self.work.cases]
        return self._fp32


def _measured(outputs: Sequence[Mapping[str, np.ndarray]], expected: Sequence[Mapping[str, np.ndarray]]) -> Measured:
    found = [agreement(came, wanted) for came, wanted in zip(outputs, expected, strict=True)]
    return Measured(min(a.cosine for a in found), float(np.mean([a.relative for a in found])))
