"""Profiling by OpenVINO: whole runs timed as the pipeline makes them, then OpenVINO's time of every operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EngineError
from ...stage.contract import StageContract
from ..measures import StageProfile, example_feeds, ranked, summarize, timed_runs
from ..options import SessionOptions
from .session import DEVICE, OpenVinoSession, import_openvino, settings_for

PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
"""Our names of OpenVINO's types; others keep theirs."""


def profile_openvino(
    path: Path,
    contract: StageContract,
    sizes: Mapping[str, int],
    options: SessionOptions,
    iterations: int,
) -> StageProfile:
    """Profile one graph.

    Args:
        path: the graph, verified.
        contract: what it takes.
        sizes: of the dynamic axes.
        options: how it is compiled, and the precision to compute in.
        iterations: runs, of each of the two kinds.

    Raises:
        EngineError: this CPU does not compute in the precision, or a run fails.
    """
    ov = import_openvino()
    feeds = example_feeds(contract, sizes)
    with OpenVinoSession(path, contract, options) as session:
        milliseconds = timed_runs(lambda: session.run_unchecked(feeds), iterations)
    try:
        runs = _counted(ov, path, feeds, {**settings_for(options), "PERF_COUNT": True}, iterations)
    except Exception as error:
        raise EngineError(f"{contract.stage}: OpenVINO cannot profile it: {error}") from error
    return StageProfile(
        stage=contract.stage,
        precision=options.precision,
        measured_by=f"OpenVINO {ov.__version__.partition('-')[0]}, {DEVICE}",
        sizes=dict(sizes),
        times=summarize(milliseconds, "arrays on the host to arrays on the host", contract.stage),
        layers=ranked(operation_times(runs)),
    )


def operation_times(runs: Iterable[list[Any]]) -> list[tuple[str, str, str, float]]:
    """Name, kind, precision and mean milliseconds of every operation that was executed.

    OpenVINO names the kernel that it chose with the type at its end: `brgemm_avx2_f32`.

    Args:
        runs: what OpenVINO's `get_profiling_info` told after each run.
    """
    counted = list(runs)
    milliseconds: dict[str, float] = defaultdict(float)
    what: dict[str, tuple[str, str]] = {}
    for operation in (operation for run in counted for operation in run):
        if operation.status == operation.Status.EXECUTED:
            kind = operation.exec_type.rpartition("_")[2]
            milliseconds[operation.node_name] += operation.real_time.total_seconds() * 1e3
            what[operation.node_name] = (operation.node_type, PRECISIONS.get(kind, kind or "unknown"))
    return [(name, *what[name], total / len(counted)) for name, total in milliseconds.items()]


def _counted(
    ov: Any, path: Path, feeds: Mapping[str, np.ndarray], settings: Mapping[str, Any], iterations: int
) -> list[list[Any]]:
    request = ov.Core().compile_model(str(path), DEVICE, dict(settings)).create_infer_request()
    told = []
    for _ in range(iterations + 1):
        request.infer(dict(feeds))
        told.append(request.get_profiling_info())
    return told[1:]
