"""The backends, and how one is chosen."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Literal, NamedTuple

from ..errors import BundleError, EngineError, MissingExtraError, ParameterError, one_of
from ..reporting import logger
from ..stage.contract import StageContract
from ..stage.precision import FP32
from .base import HOST, Session
from .measures import StageProfile
from .options import SessionOptions
from .trials import try_first


class Backend(NamedTuple):
    """Where a backend's sessions are opened, and what it needs. Nothing is imported before it is asked for."""

    module: str
    """Relative to this package."""
    opener: str
    """A function of the module: path, contract, options → session."""
    package: str
    extra: str
    engine: Literal["onnx", "plan"] = "onnx"
    """The format it reads."""
    makes: tuple[str, ...] = ()
    """Precisions that it makes of the FP32 graph by itself."""
    widens: tuple[str, ...] = ()
    """Precisions of graphs that it computes in FP32, so that a run of them proves little (parity emulates them)."""
    means: tuple[str, ...] = ()
    """Precisions that it emulates: results are what the graph means, times say nothing. It is chosen by name alone."""
    refusal: str = ""
    """A function of the module: why this machine cannot compute in a precision, or "". Asked of all but fp32."""
    profiler: str = ""
    """A function of the module `profiling` beside: path, contract, sizes, options, iterations → profile."""
    options: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Options that it alone has, by name, with their values, the default first (`SessionOptions.of_backend`)."""
    on_cpu: bool = False
    """Whether it computes on the CPU, as fast as that can."""
    machines: tuple[str, ...] = ()
    """Names of processors that its package has wheels for; none means that it has for all."""


log = logger("backends")

OVERLAP = "overlap"
"""The option of backends whose engines may run side by side on a GPU: each has a stream of its own, and a run keeps no
other thread from starting one. A run returns when its outputs are there, so that who reads them need not wait."""

OVERLAPS = MappingProxyType({OVERLAP: ("on", "off")})

BACKENDS = {
    "openvino": Backend(
        ".openvino.session",
        "open_openvino",
        "openvino",
        "openvino",
        makes=("bf16",),
        widens=("fp16", "int8w", "fp8"),
        refusal="refusal",
        profiler="profile_openvino",
        on_cpu=True,
    ),
    "onnxruntime": Backend(
        ".onnxruntime.session",
        "open_cpu",
        "onnxruntime",
        "cpu",
        widens=("fp16", "bf16", "int8w", "fp8"),
        profiler="profile_cpu",
        on_cpu=True,
    ),
    "onnxruntime-cuda": Backend(
        ".onnxruntime.session", "open_cuda", "onnxruntime", "gpu", profiler="profile_cuda", options=OVERLAPS
    ),
    "onnxruntime-tensorrt": Backend(
        ".onnxruntime.session", "open_tensorrt", "onnxruntime", "gpu", profiler="profile_tensorrt", options=OVERLAPS
    ),
    "tensorrt": Backend(".tensorrt.session", "open_plan", "tensorrt", "tensorrt", engine="plan", options=OVERLAPS),
    "tensorrt-rtx": Backend(
        ".tensorrt.session",
        "open_rtx_plan",
        "tensorrt_rtx_bindings",
        "tensorrt-rtx",
        engine="plan",
        options={
            "cuda-graphs": ("whole-graph", "off"),
            "specialization": ("lazy", "eager", "none"),
            "runtime-cache": ("on", "off"),
            OVERLAP: ("off", "on"),  # it captures CUDA graphs when it likes, and beside that not every call is allowed
        },
        machines=("x86_64", "AMD64"),
    ),
    "emulated": Backend(
        "..graph.emulate", "open_emulated", "onnx", "graph", means=("fp16", "bf16", "int8w", "int8", "fp8")
    ),
}
"""By name, the preferred first. OpenVINO is the faster of the two on CPUs (docs/cpu.md); a GPU is asked for."""

PROFILING = tuple(name for name, backend in BACKENDS.items() if backend.profiler)
"""Backends that tell the times of single operations."""


def available_backends() -> list[str]:
    """Backends that one would run on and whose package is installed, the preferred first.

    (`ovdeploy doctor` tells which of them work here.)
    """
    return [name for name, backend in BACKENDS.items() if not backend.means and _installed(name)]


def _installed(name: str) -> bool:
    return find_spec(BACKENDS[name].package) is not None


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
        found = next((backend for backend in installed if not refusal(backend, precision)), installed[0])
        log.info("%s is taken for %s, of %s", found, precision, ", ".join(installed))
        return found
    if name not in BACKENDS:
        raise BundleError(one_of("backend", name, ["auto", *BACKENDS]))
    if not _installed(name):
        if problem := no_wheel(name):
            raise EngineError(problem)
        raise MissingExtraError(BACKENDS[name].package, BACKENDS[name].extra, f"backend {name!r}")
    return name


def no_wheel(name: str) -> str:
    """Why a backend cannot be installed on this processor; empty if it can."""
    machines, here = BACKENDS[name].machines, platform.machine()
    if not machines or here in machines:
        return ""
    return (
        f"there are wheels for the backend {name!r} for {' and '.join(machines)} alone, and this machine is {here}. "
        f"Build its plans on such a machine; where it cannot run, take 'tensorrt' (on a Jetson, JetPack brings it)"
    )


def check_backend_options(backend: str, given: Mapping[str, str]) -> None:
    """Refuse options that a backend does not have, and values that they do not take.

    Args:
        backend: a key of `BACKENDS`.
        given: by name.

    Raises:
        ParameterError: with those that are valid.
    """
    known = BACKENDS[backend].options
    for name, value in given.items():
        if name not in known:
            raise ParameterError(
                one_of(f"option of {backend}", name, known) if known else
                f"the backend {backend!r} has no options of its own, {name!r} was given"
            )  # fmt: skip
        if value not in known[name]:
            raise ParameterError(one_of(f"value of {backend}'s option {name}:", value, known[name]))


def option_of(backend: str, given: Mapping[str, str], name: str) -> str:
    """The value of a backend's own option: as it is given, else the default; empty if the backend lacks the option.

    Args:
        backend: a key of `BACKENDS`.
        given: options by name.
        name: the option.
    """
    return given.get(name, BACKENDS[backend].options.get(name, ("",))[0])


def refusal(name: str, precision: str) -> str:
    """Why a backend that is installed cannot compute in a precision here; empty if it can, or would find out later."""
    backend = BACKENDS[name]
    if precision == FP32 or not backend.refusal:
        return ""
    return str(getattr(_module(backend.module), backend.refusal)(precision))


def _module(name: str) -> ModuleType:
    return import_module(name, __package__)


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

    Raises:
        EngineError: the backend refuses it, or crashed when it was tried in a process of its own.
        BundleError: it is no engine of this contract.
        MissingExtraError: the backend is not installed.
    """
    name = choose_backend(backend)
    chosen, given = BACKENDS[name], options or SessionOptions(threads=threads)
    check_backend_options(name, given.of_backend)
    try_first(name, path, contract, given)
    session: Session = getattr(_module(chosen.module), chosen.opener)(path, contract, given)
    session.overlaps = session.device != HOST and option_of(name, given.of_backend, OVERLAP) == "on"
    return session


def profile_graph(
    path: Path,
    contract: StageContract,
    backend: str,
    sizes: Mapping[str, int],
    options: SessionOptions,
    iterations: int,
) -> StageProfile:
    """Let a backend tell where the time of one engine goes.

    Args:
        path: the engine's file, already verified.
        contract: what it takes and gives.
        backend: a key of `BACKENDS`.
        sizes: of the dynamic axes.
        options: how it is opened; its precision is the profile's.
        iterations: runs at least.

    Raises:
        ParameterError: the backend does not tell the times of single operations.
        EngineError: the backend does not work here, or a run fails.
    """
    chosen = BACKENDS[backend]
    if not chosen.profiler:
        raise ParameterError(one_of("backend that measures single operations", backend, PROFILING))
    try_first(backend, path, contract, options)
    module = _module(f"{chosen.module.rpartition('.')[0]}.profiling")
    profile: StageProfile = getattr(module, chosen.profiler)(path, contract, sizes, options, iterations)
    return profile
