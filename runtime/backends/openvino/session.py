"""OpenVINO on the CPU: FP32 that is FP32, bf16 where the CPU has it, compiled models kept on disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import BundleError, EngineError, needing
from ...stage.arrays import Array, to_host
from ...stage.contract import StageContract, TensorSpec
from ..base import Session
from ..options import SessionOptions
from .compiled import compile_cached, release_pages

DEVICE = "CPU"


class Precision(NamedTuple):
    """How OpenVINO is asked for a precision."""

    hint: str
    """Its inference precision; without one it takes bf16 where the CPU has it, whatever the graph says."""
    capability: str
    """The entry that its list of CPU capabilities must hold."""


PRECISIONS = {
    "fp32": Precision("f32", "FP32"),
    "bf16": Precision("bf16", "BF16"),
    "int8": Precision("f32", "INT8"),  # of what is not between quantisers
    "fp16": Precision("f32", "FP32"),  # weights are half; most CPUs have no half products
}
"""By the engine's precision."""


class OpenVinoSession(Session):
    """A graph compiled by OpenVINO for the CPU. May be shared between threads, which then take turns.

    Its memory is the host's, so arrays are NumPy's: OpenVINO reads inputs and writes outputs where they lie, without a
    copy. What is not written into arrays lies in memory that nothing else uses, and stays as it is.
    """

    def __init__(self, path: Path, contract: StageContract, options: SessionOptions) -> None:
        """Compile a graph, or read what was compiled before.

        Args:
            path: the `.onnx` file, already verified.
            contract: what the bundle says it takes and gives.
            options: threads and precision; with an identity the compiled model is kept on disk.

        Raises:
            MissingExtraError: openvino is not installed.
            BundleError: not a graph that OpenVINO can load, or not the contract's inputs and outputs.
            EngineError: the CPU does not compute in this precision.
        """
        super().__init__(contract)
        self._alone = threading.Lock()
        self._ov = import_openvino()
        if reason := refusal(options.precision):
            raise EngineError(f"{contract.stage}: {reason}")
        core = self._ov.Core()
        try:
            made = compile_cached(core, path, DEVICE, settings_for(options), options.identity)
        except Exception as error:
            raise BundleError(f"OpenVINO cannot load {path}: {error}") from error
        self._compiled, self._packing = made
        self._check_signature(path)
        self._check_precision(options.precision)
        self._types = {port.any_name: port.element_type for port in self._compiled.outputs}

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        request = self._compiled.create_infer_request()  # its own: threads may share us
        given = {name: _readable(to_host(array)) for name, array in feeds.items()}  # tensors do not keep them alive
        rooms = {name: _writable(array) for name, array in into.items()}
        made = {spec.name: self._room(spec) for spec in self.contract.outputs if spec.name not in into}
        for name, array in (*given.items(), *rooms.items()):
            request.set_tensor(name, self._ov.Tensor(array, shared_memory=True))
        for name, tensor in made.items():
            request.set_tensor(name, tensor)
        with self._alone:  # memory cannot be released while another thread runs
            request.infer()
            if self._packing:  # some weights are packed when they are first used
                release_pages(self._packing)
                self._packing = None
            self._compiled.release_memory()  # what lay between the layers: the next engine needs as much
        for name, room in rooms.items():
            if room is not into[name]:
                into[name][...] = room  # type: ignore[index]
        return {name: tensor.data for name, tensor in made.items()}

    def _room(self, spec: TensorSpec) -> Any:
        """A tensor for an output; its dynamic axes grow when the engine runs."""
        return self._ov.Tensor(self._types[spec.name], [0 if isinstance(dim, str) else dim for dim in spec.shape])

    def _check_signature(self, path: Path) -> None:
        for what, ports, expected in (
            ("takes", self._compiled.inputs, self.contract.input_names),
            ("gives", self._compiled.outputs, self.contract.output_names),
        ):
            names = sorted(port.any_name for port in ports)
            if names != sorted(expected):
                raise BundleError(f"{path} {what} {names}, its contract says {sorted(expected)}")

    def _check_precision(self, precision: str) -> None:
        """Check that OpenVINO chose the precision asked for."""
        came = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if came != PRECISIONS[precision].hint:
            raise EngineError(f"{self.contract.stage}: OpenVINO computes in {came}, not in {precision} as asked")

    def close(self) -> None:
        """Free the compiled model."""
        super().close()
        self._compiled = None


def open_openvino(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """Load a graph to run by OpenVINO on the CPU."""
    return OpenVinoSession(path, contract, options)


def settings_for(options: SessionOptions) -> dict[str, Any]:
    """OpenVINO's own settings.

    Threads are not pinned to cores: it gains nothing measurable, and two processes would be pinned to the same ones.
    """
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[options.precision].hint,
        "ENABLE_CPU_PINNING": False,
    }
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    return settings


def refusal(precision: str) -> str:
    """Why this CPU cannot compute in a precision; empty if it can."""
    if precision not in PRECISIONS:
        return f"OpenVINO is not asked for {precision} here; take one of {', '.join(PRECISIONS)}"
    has = capabilities()
    needed = PRECISIONS[precision].capability
    if needed in has:
        return ""
    return (
        f"this CPU has no {precision} arithmetic (OpenVINO says it computes in {', '.join(has)}); "
        f"take --precision fp32, or a CPU with AVX512-BF16 or AMX"
    )


@cache
def capabilities() -> tuple[str, ...]:
    """The types that OpenVINO says this CPU computes in: FP32, INT8, BF16, …"""
    listed = import_openvino().Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name in listed if name not in ("BIN", "EXPORT_IMPORT"))  # those are no types


def import_openvino() -> Any:
    """The module.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    with needing("openvino", "openvino", "running engines by OpenVINO"):
        import openvino
    return openvino


def _readable(array: np.ndarray) -> np.ndarray:
    """The array itself, or a copy if OpenVINO could not use it as it lies (it wants even inputs to be writable)."""
    return np.require(array, requirements=["C", "W"]).reshape(array.shape)  # a scalar stays one


def _writable(array: Array) -> np.ndarray:
    """The array itself if OpenVINO can write into it, else another that is copied from afterwards."""
    assert isinstance(array, np.ndarray), "this session's room is on the host"
    return array if array.flags.c_contiguous else np.empty(array.shape, array.dtype)
