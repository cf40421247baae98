"""TensorRT's Python bindings, and what this machine is to a plan."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...errors import needing
from .cuda import Cuda


class Here(NamedTuple):
    """The TensorRT and the GPU that a plan must fit."""

    tensorrt: str
    """TensorRT's version."""
    gpu: str
    compute_capability: str
    """"9.0", for example."""


def import_tensorrt() -> Any:
    """TensorRT's bindings.

    Raises:
        MissingExtraError: TensorRT is not installed.
    """
    with needing("tensorrt", "tensorrt", "building and running TensorRT plans"):
        import tensorrt
    return tensorrt


def this_machine(trt: Any, cuda: Cuda) -> Here:
    """The TensorRT and the GPU of this machine."""
    return Here(str(trt.__version__), cuda.name, ".".join(map(str, cuda.capability)))


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that keeps errors, so that they can be told with the exception, and drops all else."""

    class Keeper(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)

    return Keeper()


def errors_of(logger: Any) -> str:
    """The last errors that TensorRT logged, as the end of a sentence."""
    return f" TensorRT says: {' / '.join(logger.errors[-4:])}" if logger.errors else ""


def dtype_name(dtype: Any) -> str:
    """A TensorRT data type in NumPy's words; those that NumPy lacks in TensorRT's."""
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
    name = str(dtype.name)
    return names.get(name, name.lower())
