"""Parity: a bundle's engines, and the pipeline they make, against the PyTorch reference.

Every stage is fed the reference's own inputs, so that an error is told where it arises; the pipeline is chained, so
that errors may add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...runtime.backends.base import Session
from ...runtime.backends.registry import BACKENDS, choose_backend
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.opening import open_stage
from ...runtime.errors import WeightsError
from ...runtime.recipe.pipeline import StageUse
from ...runtime.reporting import Reporter, silent
from ..reference.checks import Check, Limits, limits_for
from ..reference.networks import Networks
from ..reference.trace import Trace
from .sets import in_order_of


def check_weights(bundle: Bundle, networks: Networks) -> None:
    """Refuse weights that are not those of the export.

    Raises:
        WeightsError: names the model.
    """
    for role, exported in bundle.manifest.provenance.items():
        given = networks.provenance[role]
        if given.sha256 != exported.sha256:
            raise WeightsError(
                f"the {role} weights given ({given.source}) are not those that {bundle.path} was exported with "
                f"({exported.source}): their SHA-256 differs. Give the same --{role}-weights as at export."
            )


def weight_sources(bundle: Bundle, given: Mapping[str, str | None]) -> dict[str, str]:
    """Where to take each model's weights from: as given, else as at export.

    Raises:
        WeightsError: they came from a file, whose path the bundle does not hold.
    """
    sources = {}
    for role, provenance in bundle.manifest.provenance.items():
        kind, _, name = provenance.source.partition(":")
        if given.get(role):
            sources[role] = str(given[role])
        elif kind == "file":
            raise WeightsError(f"the {role} weights came from a file named {name!r}: give --{role}-weights its path")
        else:
            sources[role] = "pretrained" if kind == "pretrained" else provenance.source
    return sources


def check_parity(
    bundle: Bundle,
    networks: Networks,
    photo: Any,
    *,
    backend: str = "auto",
    precision: str = "fp32",
    tell: Reporter = silent,
) -> Iterator[Check]:
    """Compare every stage, then what they make together, on one photo.

    Args:
        bundle: the engines.
        networks: the reference, with the weights of the export (`check_weights`).
        photo: a path, or [H, W, 3] uint8 RGB.
        backend: what runs the engines; half ones are emulated where it would compute them in FP32 (`must_emulate`).
        precision: of the engines.
        tell: is told of stages that did not run on this photo, and so are not checked by themselves.

    Yields:
        One check after another, as they are done.
    """
    trace = networks.family.trace(networks, photo, bundle)
    loose = {(use.name, output): key for use in bundle.recipe.uses for output, key in use.loose.items()}
    uses = {use.name: use for use in bundle.recipe.uses}
    limits = limits_for(bundle.recipe.tolerances, precision, loose)
    open_engine = engine_opener(bundle, backend, precision)
    for stage in bundle.manifest.stages:
        if stage in trace.stages:
            yield from _check_stage(uses[stage], open_engine, trace, limits)
        else:
            tell("did not run on this photo, and is not checked by itself; try another", about=stage, lasting=True)
    yield from networks.family.prove(bundle, networks, trace, open_engine, limits)


def must_emulate(backend: str, precision: str) -> bool:
    """Whether half engines say nothing when this backend runs them, since it would compute them in FP32."""
    return precision in BACKENDS[choose_backend(backend, precision)].widens


def engine_opener(bundle: Bundle, backend: str, precision: str) -> Callable[[str], Session]:
    """A function that opens a stage's engine, or emulates it."""

    def open_engine(stage: str) -> Session:
        if not must_emulate(backend, precision):
            return open_stage(bundle, stage, precision, backend)
        from ...runtime.graph.emulate import emulated_session

        return emulated_session(bundle.engine_path(stage, precision), bundle.stage(stage).contract)

    return open_engine


def _check_stage(use: StageUse, open_engine: Callable[[str], Session], trace: Trace, limits: Limits) -> Iterator[Check]:
    stage = use.name
    feeds, expected = trace.case(stage)
    with open_engine(stage) as session:
        start = time.perf_counter()
        outputs = session.run(feeds)
        engine_ms = (time.perf_counter() - start) * 1e3
    for name, array in in_order_of(expected, outputs, use.sets).items():
        if name in use.choices:
            continue
        torch_ms = trace.timings.get(stage) if name == next(iter(outputs)) else None
        check = limits.check(stage, name, array, expected[name])
        yield check._replace(torch_ms=torch_ms, engine_ms=engine_ms if torch_ms is not None else None)
