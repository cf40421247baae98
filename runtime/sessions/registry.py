"""The backends, and how one is chosen."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from ..bundle import Bundle
from ..contract import StageContract
from ..errors import BundleError, MissingExtraError, one_of
from ..ranges import stage_ranges
from .base import Session
from .options import SessionOptions


class Backend(NamedTuple):
    """Where a backend's sessions are opened, and what it needs. Nothing is imported before it is asked for."""

    module: str
    opener: str
    """A function of the module: path, contract, options → session."""
    package: str
    extra: str
    engine: Literal["onnx", "plan"] = "onnx"
    """What it reads."""


BACKENDS = {
    "onnxruntime": Backend("onnxruntime", "open_cpu", "onnxruntime", "cpu"),
    "onnxruntime-cuda": Backend("onnxruntime", "open_cuda", "onnxruntime", "gpu"),
    "onnxruntime-tensorrt": Backend("onnxruntime", "open_tensorrt", "onnxruntime", "gpu"),
    "tensorrt": Backend("tensorrt", "open_plan", "tensorrt", "tensorrt", engine="plan"),
}
"""By name, the preferred first."""


def available_backends() -> list[str]:
    """Backends whose package is installed, the preferred first. (`ovdeploy doctor` tells which of them work here.)"""
    return [name for name, backend in BACKENDS.items() if find_spec(backend.package) is not None]


def choose_backend(name: str) -> str:
    """`name` itself, or for "auto" the preferred one that is installed.

    Raises:
        BundleError: there is no such backend.
        MissingExtraError: its package is not installed.
    """
    if name == "auto":
        installed = available_backends()
        if not installed:
            raise MissingExtraError("onnxruntime", "cpu", "running engines")
        return installed[0]
    if name not in BACKENDS:
        raise BundleError(one_of("backend", name, ["auto", *BACKENDS]))
    if name not in available_backends():
        raise MissingExtraError(BACKENDS[name].package, BACKENDS[name].extra, f"backend {name!r}")
    return name


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
    module = import_module(f".{chosen.module}", __package__)
    session: Session = getattr(module, chosen.opener)(path, contract, options or SessionOptions(threads=threads))
    return session


def open_stage(
    bundle: Bundle, stage: str, precision: str, backend: str = "auto", options: SessionOptions | None = None
) -> Session:
    """Load a stage of a bundle, in the file that the backend reads.

    Args:
        bundle: the bundle.
        stage: its stage.
        precision: one that the bundle holds.
        backend: a key of `BACKENDS`, or "auto".
        options: how to open it.

    Raises:
        BundleError: the bundle has no such engine, or no plan that fits this machine; says what makes one.
    """
    backend = choose_backend(backend)
    contract, precision = bundle.stage(stage).contract, bundle.stage(stage).resolved(precision)
    given = options or SessionOptions()
    ranges = {**stage_ranges(contract, bundle), **given.ranges}
    given = dataclasses.replace(given, ranges=ranges, precision=precision)
    if BACKENDS[backend].engine == "plan":
        from ..tensorrt.plans import plan_path

        path = plan_path(bundle, stage, precision, given)
    else:
        path = bundle.engine_path(stage, precision)
    return open_session(path, contract, backend, options=given)
