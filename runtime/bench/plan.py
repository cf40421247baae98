"""Runners and products to measure, as data, and a runner's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..backends.registry import BACKENDS, available_backends
from ..bundle.bundle import Bundle
from ..bundle.places import place_of
from ..errors import ParameterError, one_of
from ..pipelines.engines import Calls
from ..words.vocabulary import Vocabulary

RUNNERS = "ovdeploy.runners"
"""Entry-point group of what can be measured: called with a `RunnerSpec`, each gives a context manager over a
`Runner`. Imported in the runner's own process."""

PRODUCTS = "ovdeploy.products"
"""Entry-point group of libraries that multiply matrices: called with a `ProductSpec`, each gives a context manager
over a `Product`."""

ENGINES = "engines"
"""The runner that a bundle's engines are."""


@dataclass(frozen=True, kw_only=True)
class RunnerSpec:
    """One thing to measure, and how to open it. Plain values: it goes to another process."""

    label: str
    kind: str = ENGINES
    """An entry point of `RUNNERS`."""
    bundle: Path
    backend: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    parameters: Mapping[str, Any] | None = None
    weights: Mapping[str, str] | None = None
    """Where a reference takes the models' weights from, by role; for bundles made from files."""
    group: str = RUNNERS


@dataclass(frozen=True, kw_only=True)
class ProductSpec:
    """A matrix product of one library in one precision."""

    kind: str
    """An entry point of `PRODUCTS`."""
    precision: str = "fp32"
    threads: int | None = None
    group: str = PRODUCTS

    @property
    def label(self) -> str:
        """Its name."""
        return f"{self.kind} {self.precision}"


Spec = RunnerSpec | ProductSpec


@dataclass(frozen=True, eq=False)
class Outcome:
    """One photo, measured."""

    milliseconds: float
    """From the decoded photo [H, W, 3] to the mask."""
    steps: dict[str, float]
    """Milliseconds by step; stages go by their names."""
    mask: np.ndarray
    """[H, W] class index."""
    coarse: np.ndarray
    """[H, W] class index, before refinement."""
    regions: int
    """How many went through SAM's decoder."""
    calls: Calls = field(default_factory=dict)
    """The calls of its engines; none where there are no engines."""


class Runner(Protocol):
    """Anything that turns a photo into a mask."""

    def run(self, photo: np.ndarray, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None = None) -> Outcome:
        """Segment [H, W, 3] uint8 RGB once, with parameters that override the runner's."""


class Product(Protocol):
    """Anything that multiplies matrices."""

    def seconds(self) -> float:
        """The shortest of a few products of `products.SHAPE`."""


def runners_of(bundle: Bundle, how: RunnerSpec, chosen: Iterable[str] = ()) -> list[RunnerSpec]:
    """The runners of a bundle.

    Args:
        bundle: opened.
        how: what all of them have: the bundle's folder, threads, parameters.
        chosen: `BACKEND@PRECISION` or `BACKEND`; none means every installed backend in every precision that is there.

    Raises:
        ParameterError: one that is not there.
    """
    names, there = list(dict.fromkeys(chosen)), whole_precisions(bundle)
    pairs = [(name, precision) for name in available_backends() for precision in _offered(name, there)]
    if names:
        known = {f"{backend}@{precision}": (backend, precision) for backend, precision in pairs}
        known |= {backend: (backend, there[0]) for backend, _ in reversed(pairs)}
        if wrong := [name for name in names if name not in known]:
            raise ParameterError(one_of("runner", wrong[0], known))
        pairs = [known[name] for name in names]
    return [
        replace(how, label=f"{backend} {precision}", backend=backend, precision=precision)
        for backend, precision in dict.fromkeys(pairs)
    ]


def whole_precisions(bundle: Bundle) -> list[str]:
    """Precisions in which all of the pipeline's stages are there, fp32 first."""
    stages = [bundle.stage(stage).engines for stage in bundle.recipe.running_stages]
    there = [p for p in bundle.precisions() if all(p in engines for engines in stages)]
    return sorted(there, key=lambda precision: (precision != "fp32", precision))


def _offered(backend: str, there: list[str]) -> list[str]:
    """The precisions of a bundle, and those that a backend makes of FP32 by itself."""
    made = getattr(BACKENDS[backend], "makes", ()) if "fp32" in there else ()
    return list(dict.fromkeys([*there, *made]))


def rival_spec(name: str, how: RunnerSpec) -> RunnerSpec:
    """The rival of a bundle: a reference by its name, or another bundle, FOLDER or FOLDER@PRECISION.

    Raises:
        ParameterError: it is neither.
    """
    known = set(entry_points(group=RUNNERS).names) - {ENGINES}
    if name in known:
        return replace(how, label=name, kind=name)
    place = place_of(name, known)
    return replace(how, label=name, bundle=place.folder, precision=place.precision or how.precision)


def product_specs(precisions: Iterable[str], threads: int | None) -> list[ProductSpec]:
    """Every library's product, in fp32 and in bf16 where a runner is."""
    wanted = ["fp32", *(["bf16"] if "bf16" in set(precisions) else [])]
    names = sorted(entry_points(group=PRODUCTS).names)
    return [ProductSpec(kind=name, precision=p, threads=threads) for p in wanted for name in names]
