"""Opening a bundle by one of its pipeline's interfaces; and again, where it was pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..backends.options import SessionOptions
from ..bundle.bundle import Bundle
from ..errors import BundleError, EngineError
from ..photo.decoding import readable
from ..recipe.pipeline import Interface
from ..stage.precision import FP32
from .engines import Engines, Wrap, as_it_is


@dataclass(frozen=True)
class Opened:
    """How a bundle was opened: all that another process needs to do it again."""

    kind: type
    bundle: Path
    """Absolute: another process may stand in another folder."""
    digest: str
    """The bundle's, so that no other one is opened in its place."""
    how: Mapping[str, Any]
    """Arguments of `open_bundle`."""


Own = TypeVar("Own", bound="Reopened")


class Reopened:
    """What is opened from a bundle, and pickled as how that was done: engines cannot travel, bundles lie on disk.

    So a process that is spawned, a worker of Ray or of a DataLoader opens the bundle anew when it is given one.
    """

    opened: Opened | None = None

    def close(self) -> None:
        """Free the engines."""
        raise NotImplementedError

    def is_closed(self) -> bool:
        """Whether it was closed."""
        raise NotImplementedError

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        name = type(self).__name__
        if self.is_closed():
            raise EngineError(f"this {name} is closed, and cannot be pickled; pickle it before, or load another one")
        if self.opened is None:
            raise EngineError(f"this {name} was made of open sessions, which cannot be pickled; load it from a bundle")
        return open_again, (self.opened,)


def open_again(opened: Opened) -> Any:
    """What was pickled, opened in this process.

    Raises:
        BundleError: the bundle is not there, or another one by now.
        OvdeployError: as `open_bundle`.
    """
    bundle = Bundle.load(opened.bundle)
    if bundle.digest != opened.digest:
        raise BundleError(
            f"{opened.bundle} is not the bundle that was pickled: its digest was {opened.digest[:12]}…, now it is "
            f"{bundle.digest[:12]}…. Load it anew"
        )
    return open_bundle(opened.kind, opened.bundle, **opened.how)


def open_bundle(
    kind: type,
    bundle: str | Path,
    *,
    backend: str = "auto",
    precision: str = FP32,
    parameters: Mapping[str, Any] | None = None,
    threads: int | None = None,
    device: int = 0,
    allow_fallback: bool = False,
    allow_host_code: bool = False,
    backend_options: Mapping[str, str] | None = None,
    wrap: Wrap = as_it_is,
    find: Callable[[Bundle], Interface] | None = None,
) -> Any:
    """Open a bundle by one of its pipeline's interfaces.

    Args:
        kind: what to open it as.
        bundle: the folder that `export-engines` wrote.
        backend: a key of `BACKENDS`, or "auto": the fastest on a CPU that is installed.
        precision: one that the bundle holds, or that the backend makes of FP32 (OpenVINO bf16); or "auto":
            the fastest that this processor has instructions for.
        parameters: overrides of the recipe's parameters.
        threads: threads within an operator on the CPU; None leaves the choice to the backend.
        device: which GPU, for backends that use one.
        allow_fallback: whether work that a GPU provider does not take may run on the CPU; else that is an error.
        allow_host_code: whether to open version-compatible TensorRT plans, which bring code; trust their source.
        backend_options: options that this backend alone has: `{"cuda-graphs": "off"}` of tensorrt-rtx.
        wrap: what to put in the place of every session, such as one that records what it is fed.
        find: the interface to take; None means the one that the pipeline has under `kind`.

    Raises:
        BundleError: the bundle is missing, damaged or lacks a stage, has no TensorRT plan for this machine, or its
            pipeline has no such interface.
        EngineError: the backend's driver, GPU or provider does not work here.
        ParameterError: an override is unknown, out of range, or baked into the engines.
        MissingExtraError: the backend is not installed.
    """
    opened = Bundle.load(bundle)
    readable()  # what reads photos is imported now, and the first takes no longer for it than the second
    family = opened.recipe.family
    if find is None and kind not in family.interfaces:
        raise BundleError(
            f"{opened.path} cannot be opened as a {kind.__name__}: its pipeline, {family.name!r}, has {family.doors}"
        )
    interface = find(opened) if find else family.interfaces[kind]
    opened.recipe.override(parameters)  # a wrong name should not wait for the engines
    for stage in interface.stages:  # what is missing is told before the larger engines are opened
        opened.stage(stage)
    options = SessionOptions(
        threads=threads, device=device, allow_fallback=allow_fallback, allow_host_code=allow_host_code,
        of_backend=dict(backend_options or {}),
    )  # fmt: skip
    engines = Engines.of(opened, backend=backend, precision=precision, options=options, wrap=wrap)
    try:
        made = interface.open(opened, engines, parameters)
    except BaseException:
        engines.close()
        raise
    if isinstance(made, Reopened):
        made.opened = Opened(kind, opened.path.absolute(), opened.digest, {
            "backend": backend, "precision": precision, "parameters": dict(parameters or {}), "threads": threads,
            "device": device, "allow_fallback": allow_fallback, "allow_host_code": allow_host_code,
            "backend_options": dict(backend_options or {}), "wrap": wrap, "find": find,
        })  # fmt: skip
    return made
