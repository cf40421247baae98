"""NVIDIA's two libraries, TensorRT and TensorRT-RTX: one code path, and a class for what differs in each."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, NamedTuple

from ...errors import EngineError, MissingExtraError
from ..options import SessionOptions
from ..registry import no_wheel
from .cuda import Cuda
from .options import PlanOptions


class Here(NamedTuple):
    """The library and the GPU that a plan must fit."""

    tensorrt: str
    """The library's version."""
    gpu: str
    """Its name; empty where plans are built without one."""
    compute_capability: str
    """"9.0", for example; empty where plans are built without a GPU."""
    library: str = "tensorrt"
    """`Library.backend`."""


class Contexts:
    """Makes the execution contexts of one engine, in scratch memory that the session gives them."""

    def __init__(self, trt: Any, engine: Any) -> None:
        self.trt, self.engine = trt, engine

    def create(self) -> Any:
        """A context without memory; None if there is no room."""
        return self.engine.create_execution_context(self.trt.ExecutionContextAllocationStrategy.USER_MANAGED)

    def save(self) -> None:
        """Keep what was compiled so far, if anything is."""


class Library(ABC):
    """One of the two.

    Attributes:
        title: its name in messages.
        backend: its key in `BACKENDS`.
        module: its bindings.
        package: the distribution that brings them.
        extra: of ours, that installs it.
        tag: stands in the names of plans.
        advice: what may help when a plan cannot be built.
        anywhere: whether its plans are built without a GPU.
    """

    title: str
    backend: str
    module: str
    package: str
    extra: str
    tag: str
    advice: str
    anywhere = False

    def load(self) -> Any:
        """Its Python bindings.

        Raises:
            MissingExtraError: they are not installed.
            EngineError: there are none for this processor, or its libraries do not load.
        """
        return import_library(self)

    def gpu(self, device: int) -> Cuda:
        """A GPU to run on, with a stream of its own.

        Raises:
            MissingExtraError: cuda-python is not installed.
            EngineError: no GPU can be used here.
        """
        return Cuda(device, self.extra)

    def here(self, device: int) -> Here:
        """The library and a GPU of this machine.

        Raises:
            MissingExtraError: the library or cuda-python is not installed.
            EngineError: no GPU can be used here.
        """
        trt, cuda = self.load(), self.gpu(device)
        try:
            return Here(str(trt.__version__), cuda.name, ".".join(map(str, cuda.capability)), self.backend)
        finally:
            cuda.close()

    @abstractmethod
    def builds_here(self, options: PlanOptions, device: int) -> Here:
        """What plans are built with: the library, and the GPU if one is needed.

        Raises:
            MissingExtraError, EngineError: as `here`.
        """

    @abstractmethod
    def check(self, options: PlanOptions, precision: str) -> None:
        """Refuse options that the library does not have, and precisions that the plan's GPUs do not take.

        Raises:
            ParameterError: says which, and what it has instead.
        """

    @abstractmethod
    def place(self, options: PlanOptions, here: Here) -> str:
        """The part of a plan's name that says which GPUs it is for."""

    @abstractmethod
    def configure(self, trt: Any, config: Any, options: PlanOptions, timings: bytes) -> None:
        """Set what only this library has in a builder's configuration."""

    @abstractmethod
    def learnt(self, trt: Any, config: Any, network: Any, plan: bytes, stage: str) -> tuple[bytes, dict[str, int]]:
        """What a build taught: the timing cache for the next one, and the plan's layers by precision.

        Raises:
            ExportError: the plan that was just built cannot be opened.
        """

    @abstractmethod
    def misfits(self, plan: Any, here: Here) -> list[str]:
        """Why a plan cannot run with a library on a GPU, in words; nothing if it can.

        Args:
            plan: a `PlanEntry`.
            here: the library and the GPU.
        """

    def remedy(self, here: Here, precision: str, command: str) -> str:
        """What to do where there is no plan for a machine in a precision: the command that builds one.

        Args:
            here: the machine.
            precision: of the plan.
            command: `build-plans` with all but the backend and its options.
        """
        return f"Build it on this machine with: {command} --backend {self.backend}"

    @abstractmethod
    def refusal(self, trt: Any, runtime: Any, plan: bytes) -> str:
        """Why the library will not open a plan on this machine, as it tells before it tries.

        Empty if it may, or does not say why: then opening it tells more.
        """

    @abstractmethod
    def contexts(self, trt: Any, engine: Any, plan: str, gpu: str, options: SessionOptions) -> Contexts:
        """The maker of an engine's execution contexts.

        Args:
            trt: the bindings.
            engine: the opened engine.
            plan: path of its file.
            gpu: the GPU's name.
            options: how it is opened.
        """

    def captures(self, options: SessionOptions) -> bool:
        """Whether `tune` tries CUDA graphs of the session's own."""
        return True


def import_library(library: Library) -> Any:
    """A library's Python bindings: see `Library.load`."""
    try:
        return import_module(library.module)
    except ImportError as error:
        if problem := no_wheel(library.backend):
            raise EngineError(problem) from error
        purpose = f"building and running {library.title} plans"
        raise MissingExtraError(library.package, library.extra, purpose) from error
    except OSError as error:  # a shared library that this system cannot load
        raise EngineError(f"{library.title} is installed and does not load here: {error}") from error


def make_logger(trt: Any) -> Any:
    """A logger that keeps errors, so that they can be told with the exception, and drops all else."""

    class Keeper(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)

    return Keeper()


def errors_of(logger: Any) -> str:
    """The last errors that were logged, as the end of a sentence."""
    return f" TensorRT says: {' / '.join(logger.errors[-4:])}" if logger.errors else ""


def dtype_name(dtype: Any) -> str:
    """A TensorRT data type in NumPy's words; those that NumPy lacks in TensorRT's."""
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
    name = str(dtype.name)
    return names.get(name, name.lower())


def slug(gpu: str) -> str:
    """A GPU's name as a part of file names."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") or "gpu"
