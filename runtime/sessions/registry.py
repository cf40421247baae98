"""The backends, and how one is chosen."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..contract import StageContract
from ..errors import BundleError, MissingExtraError, one_of
from .base import Session


class Backend(NamedTuple):
    """Where a backend's session class is, and what it needs. Nothing is imported before it is asked for."""

    module: str
    session: str
    package: str
    extra: str
    precisions: tuple[str, ...]


BACKENDS = {
    "onnxruntime": Backend("onnxruntime", "OnnxRuntimeSession", "onnxruntime", "cpu", ("fp32", "fp16")),
}
"""By name, the preferred first."""


def available_backends() -> list[str]:
    """Backends whose package is installed, the preferred first."""
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


def open_session(path: Path, contract: StageContract, backend: str = "auto", *, threads: int | None = None) -> Session:
    """Load one engine.

    Args:
        path: the engine's file, already verified.
        contract: what it takes and gives.
        backend: a key of `BACKENDS`, or "auto".
        threads: threads within an operator; None leaves the choice to the backend.
    """
    chosen = BACKENDS[choose_backend(backend)]
    module = import_module(f".{chosen.module}", __package__)
    session: Session = getattr(module, chosen.session)(path, contract, threads=threads)
    return session
