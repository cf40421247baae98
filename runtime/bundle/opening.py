"""Opening the stages of a bundle: which file a backend reads, and with which options."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager

from ..backends.base import Session
from ..backends.options import SessionOptions
from ..backends.registry import BACKENDS, choose_backend, open_session
from ..reporting import logger
from ..stage.precision import FP32
from .bundle import Bundle, StageEntry

log = logger("bundle")


def graph_precision(bundle: Bundle, stage: str, precision: str, backend: str) -> str:
    """Which of a stage's graphs a backend reads for a precision: its own, or the FP32 one if the backend makes it.

    Args:
        bundle: the bundle.
        stage: its stage.
        precision: as asked for.
        backend: a key of `BACKENDS`.
    """
    return _held(bundle.stage(stage), precision, backend)


def _held(entry: StageEntry, precision: str, backend: str) -> str:
    makes = precision in BACKENDS[backend].makes and FP32 in entry.engines
    return FP32 if makes else entry.resolved(precision)


def hashed_ahead(bundle: Bundle, stages: Iterable[str], precision: str, backend: str) -> AbstractContextManager[None]:
    """Within, the graphs that `open_stage` is going to verify are hashed in the background, in the order of stages.

    Plans are not: which of them is read is known only when a GPU was asked.
    """
    entries = [bundle.manifest.stages[stage] for stage in stages if stage in bundle.manifest.stages]
    found = [] if BACKENDS[backend].engine == "plan" else entries
    chosen = [entry.engines.get(_held(entry, precision, backend)) for entry in found]
    return bundle.digests.ahead(bundle.path / file.path for engine in chosen if engine for file in engine.files)


def open_stage(
    bundle: Bundle, stage: str, precision: str, backend: str = "auto", options: SessionOptions | None = None
) -> Session:
    """Load a stage of a bundle, in the file that the backend reads.

    Args:
        bundle: the bundle.
        stage: its stage.
        precision: one that the bundle holds, or that the backend makes of FP32.
        backend: a key of `BACKENDS`, or "auto".
        options: how to open it.

    Raises:
        BundleError: the bundle has no such engine, or no plan that fits this machine; says what makes one.
    """
    backend = choose_backend(backend, precision)
    contract, precision = bundle.stage(stage).contract, bundle.stage(stage).resolved(precision)
    given = options or SessionOptions()
    ranges = {**contract.ranges, **given.ranges}
    if BACKENDS[backend].engine == "plan":
        from .plans import plan_path

        given = dataclasses.replace(given, ranges=ranges, precision=precision)
        path = plan_path(bundle, stage, precision, given, backend)
    else:
        held = graph_precision(bundle, stage, precision, backend)
        path = bundle.engine_path(stage, held)
        engine = bundle.stage(stage).engines[held]
        kinds = tuple(engine.census.weights) if engine.census else ()
        size = sum(file.bytes for file in engine.files)
        given = dataclasses.replace(
            given, ranges=ranges, precision=precision, identity=engine.digest, kinds=kinds, size=size
        )
    start = time.perf_counter()
    session = open_session(path, contract, backend, options=given)
    log.info("%s: %s by %s in %s, opened in %.2f s", stage, path.name, backend, precision, time.perf_counter() - start)
    return session
