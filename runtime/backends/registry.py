"""The backends, and how one is chosen."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from ..bundle.bundle import Bundle
from ..errors import BundleError, MissingExtraError, one_of
from ..stage.axes import stage_ranges
from ..stage.contract import StageContract
from .base import Session
from .options import SessionOptions

FP32 = "fp32"


class Backend(NamedTuple):
    """Where a backend's sessions are opened, and what it needs. Nothing is imported before it is asked for."""

    module: str
    opener: str
    """A function of the module: path, contract, options → session."""
    package: str
    extra: str
    engine: Literal["onnx", "plan"] = "onnx"
    """What it reads."""
    makes: tuple[str, ...] = ()
    """Precisions that it makes of the FP32 graph by itself."""
    widens: tuple[str, ...] = ()
    """Precisions of graphs that it computes in FP32, so that a run of them proves little (parity emulates them)."""
    refusal: str = ""
    """A function of the module: why this machine cannot compute in a precision, or "". Asked of all but fp32."""


BACKENDS = {
    "openvino": Backend(
        "openvino.session",
        "open_openvino",
        "openvino",
        "openvino",
        makes=("bf16",),
        widens=("fp16",),
        refusal="refusal",
    ),
    "onnxruntime": Backend("onnxruntime.session", "open_cpu", "onnxruntime", "cpu", widens=("fp16", "bf16")),
    "onnxruntime-cuda": Backend("onnxruntime.session", "open_cuda", "onnxruntime", "gpu"),
    "onnxruntime-tensorrt": Backend("onnxruntime.session", "open_tensorrt", "onnxruntime", "gpu"),
    "tensorrt": Backend("tensorrt.session", "open_plan", "tensorrt", "tensorrt", engine="plan"),
}
"""By name, the preferred first. OpenVINO is the faster of the two on CPUs (README, "On a CPU"); a GPU is asked for."""


def available_backends() -> list[str]:
    """Backends whose package is installed, the preferred first. (`ovdeploy doctor` tells which of them work here.)"""
    return [name for name, backend in BACKENDS.items() if find_spec(backend.package) is not None]


def choose_backend(name: str, precision: str = FP32) -> str:
    """`name` itself, or for "auto" the preferred one that is installed and computes in this precision.

    Raises:
        BundleError: there is no such backend.
        MissingExtraError: its package is not installed.
    """
    if name == "auto":
        installed = available_backends()
        if not installed:
            raise MissingExtraError("onnxruntime", "cpu", "running engines")
        return next((backend for backend in installed if not _refusal(backend, precision)), installed[0])
    if name not in BACKENDS:
        raise BundleError(one_of("backend", name, ["auto", *BACKENDS]))
    if name not in available_backends():
        raise MissingExtraError(BACKENDS[name].package, BACKENDS[name].extra, f"backend {name!r}")
    return name


def graph_precision(bundle: Bundle, stage: str, precision: str, backend: str) -> str:
    """Which of a stage's graphs a backend reads for a precision: its own, or the FP32 one if the backend makes it.

    Args:
        bundle: the bundle.
        stage: its stage.
        precision: as asked for.
        backend: a key of `BACKENDS`.
    """
    makes = precision in BACKENDS[backend].makes and FP32 in bundle.stage(stage).engines
    return FP32 if makes else bundle.stage(stage).resolved(precision)


def _refusal(name: str, precision: str) -> str:
    """Why a backend that is installed cannot compute in a precision here; empty if it can, or would find out later."""
    backend = BACKENDS[name]
    if precision == FP32 or not backend.refusal:
        return ""
    return str(getattr(_module(backend), backend.refusal)(precision))


def _module(backend: Backend) -> ModuleType:
    return import_module(f".{backend.module}", __package__)


def open_session(
    path: Path,
    contract: StageContract,
    backend: str = "auto",
    *,
    threads: int | None = None,
    options: SessionOptions | None = None,
) -> Session:
    """Load one engine from its file.

    Args:
        path: the engine's file, already verified.
        contract: what it takes and gives.
        backend: a key of `BACKENDS`, or "auto".
        threads: threads within an operator; None leaves the choice to the backend.
        options: all that may be said, instead of `threads`.
    """
    chosen = BACKENDS[choose_backend(backend)]
    session: Session = getattr(_module(chosen), chosen.opener)(
        path, contract, options or SessionOptions(threads=threads)
    )
    return session


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
    ranges = {**stage_ranges(contract, bundle), **given.ranges}
    if BACKENDS[backend].engine == "plan":
        from ..bundle.plans import plan_path

        given = dataclasses.replace(given, ranges=ranges, precision=precision)
        path = plan_path(bundle, stage, precision, given)
    else:
        held = graph_precision(bundle, stage, precision, backend)
        path = bundle.engine_path(stage, held)
        identity = bundle.stage(stage).engines[held].digest
        given = dataclasses.replace(given, ranges=ranges, precision=precision, identity=identity)
    return open_session(path, contract, backend, options=given)
