"""Profiling by ONNX Runtime: whole runs timed without its profiler, then its profiler's time of every node."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EngineError
from ...stage.contract import StageContract
from ..measures import StageProfile, example_feeds, ranked, summarize, timed_runs
from ..options import SessionOptions
from .providers import CPU, CUDA, TENSORRT, Provider, check_assignment, check_providers
from .session import import_onnxruntime, load

PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
"""Our names of ONNX Runtime's types; others keep theirs."""

KERNEL = "_kernel_time"


def profile_onnx(
    path: Path,
    contract: StageContract,
    sizes: Mapping[str, int],
    options: SessionOptions,
    iterations: int,
    provider: Provider,
) -> StageProfile:
    """Profile one graph.

    Args:
        path: the graph, verified.
        contract: what it takes.
        sizes: of the dynamic axes.
        options: how sessions are opened, and the graph's precision.
        iterations: runs, of each of the two kinds.
        provider: which of ONNX Runtime's execution providers.

    Raises:
        EngineError: the provider does not work here, or a run fails.
    """
    ort = import_onnxruntime()
    check_providers(ort, provider, options)
    feeds = example_feeds(contract, sizes)
    try:
        session = load(ort, path, contract, options, provider)
        check_assignment(session, contract.stage, provider, options)
        milliseconds = timed_runs(partial(session.run, None, dict(feeds)), iterations)
        del session
        events = _events(ort, path, contract, provider, options, feeds, iterations)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"{contract.stage}: ONNX Runtime cannot profile it: {error}") from error
    return StageProfile(
        stage=contract.stage,
        precision=options.precision,
        measured_by=f"ONNX Runtime {ort.__version__}, {provider.name}",
        sizes=dict(sizes),
        times=summarize(milliseconds, "arrays on the host to arrays on the host", contract.stage),
        layers=ranked(node_times(events, iterations)),
    )


profile_cpu = partial(profile_onnx, provider=CPU)
profile_cuda = partial(profile_onnx, provider=CUDA)
profile_tensorrt = partial(profile_onnx, provider=TENSORRT)


def node_times(events: list[dict[str, Any]], runs: int) -> list[tuple[str, str, str, float]]:
    """Name, operator, precision and mean milliseconds of every node, from the profiler's events."""
    microseconds: dict[str, float] = defaultdict(float)
    what: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            name = event["name"].removesuffix(KERNEL)
            microseconds[name] += event["dur"]
            what[name] = (event["args"].get("op_name", "unknown"), _precision(event["args"]))
    return [(name, *what[name], total / 1e3 / runs) for name, total in microseconds.items()]


def _events(
    ort: Any,
    path: Path,
    contract: StageContract,
    provider: Provider,
    options: SessionOptions,
    feeds: Mapping[str, np.ndarray],
    iterations: int,
) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        session = load(ort, path, contract, options, provider, events=str(Path(folder) / "ort"))
        for _ in range(iterations):
            session.run(None, dict(feeds))
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return events


def _precision(args: Mapping[str, Any]) -> str:
    outputs = args.get("output_type_shape") or [{}]
    kind = next(iter(outputs[0]), "unknown")
    return PRECISIONS.get(kind, kind)
