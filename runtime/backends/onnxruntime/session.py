"""ONNX Runtime: on the CPU, on CUDA, and through its TensorRT provider, all by I/O binding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BundleError, EngineError, needing
from ...stage.arrays import Array, Block, DeviceArray
from ...stage.contract import StageContract
from ...stage.signature import Port, check_signature
from ..base import HOST, Session
from ..heap import give_back
from ..options import SessionOptions
from .providers import CPU, CUDA, RECORD, TENSORRT, Provider, check_assignment, check_providers

HINDERING = {
    "int8": ["MatMulAddFusion"],  # a product that has become one with its float bias is not computed in integers
    "fp16": ["NchwcTransformer"],  # 1.32.0: SIGSEGV while it loads a half graph
    "fp8": ["QDQSelectorActionTransformer"],  # 1.30.0 makes products of FP8, which it then has no kernel for
}
"""Optimisations that are switched off, by a precision that the engine goes by or that its weights have."""

LACKING = {
    "bf16": "ONNX Runtime computes no bf16 on a CPU; take --backend openvino where the CPU has it (`ovdeploy doctor` "
    "tells), or --backend emulated for what the graph means",
}
"""Precisions that its CPU provider has no kernels for, with what to do."""

LARGE = 64 << 20
"""Bytes of a graph whose engine frees its arena after each run."""

DTYPES = {
    f"tensor({ours})": numpys
    for ours, numpys in {"float": "float32", "double": "float64", "bool": "bool", "int32": "int32", "int64": "int64",
                         "uint8": "uint8", "float16": "float16"}.items()
}  # fmt: skip
"""NumPy's names of its types."""


class OrtBlock(Block):
    """Device memory that ONNX Runtime allocated. It is freed with the last array in it."""

    def __init__(self, value: Any, device: str) -> None:
        super().__init__(device, value.data_ptr())
        self._value = value

    def read(self, offset: int, size: int) -> np.ndarray:
        """[size] uint8: bytes of the block, copied to the host."""
        whole: np.ndarray = self._value.numpy().reshape(-1).view(np.uint8)
        return whole[offset : offset + size].copy()


class OnnxRuntimeSession(Session):
    """An ONNX graph run by one of ONNX Runtime's providers, with all graph optimisations.

    Inputs and outputs are bound by address, so that on a GPU arrays stay there between stages, and on the CPU outputs
    are written where they are wanted without a copy.
    """

    def __init__(self, path: Path, contract: StageContract, options: SessionOptions, provider: Provider) -> None:
        """Load the graph.

        Args:
            path: the `.onnx` file, already verified.
            contract: what the bundle says it takes and gives.
            options: threads, device, and whether a fall-back to the CPU is allowed.
            provider: which of ONNX Runtime's execution providers.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            BundleError: not a graph that ONNX Runtime can load, or not the contract's inputs and outputs.
            EngineError: the provider does not work here, or leaves work to the CPU that was not allowed to.
        """
        super().__init__(contract)
        ort = import_onnxruntime()
        self._ort = ort
        check_providers(ort, provider, options)
        try:
            self._session = load(ort, path, contract, options, provider)
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {path}: {error}") from error
        give_back()
        check_signature(path, contract, _ports(self._session.get_inputs()), _ports(self._session.get_outputs()))
        self._kind = check_assignment(self._session, contract.stage, provider, options)
        self._index = options.device
        self._how = run_options(ort, options.size or path.stat().st_size, self._kind == HOST and options.arena)
        if provider.resident and self._kind == provider.kind:
            self.device = f"{self._kind}:{self._index}"

    def put(self, name: str, array: np.ndarray) -> Array:
        """An input brought to where the engine computes."""
        if self.device == HOST:
            return array
        value = self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._kind, self._index)
        return DeviceArray(OrtBlock(value, self.device), array.shape, array.dtype, self.contract.stage)

    def empty(self, name: str, **sizes: int) -> Array:
        """Room for an output where the engine computes."""
        if self.device == HOST:
            return super().empty(name, **sizes)
        spec = self.contract.output(name)
        shape, dtype = spec.sized(sizes), np.dtype(spec.dtype)
        value = self._ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype.type, self._kind, self._index)
        return DeviceArray(OrtBlock(value, self.device), shape, dtype, self.contract.stage)

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        binding = self._session.io_binding()
        kept = [_bind_input(binding, name, array, self._kind, self._index) for name, array in feeds.items()]
        wanted = [name for name in self.contract.output_names if name not in into]
        for name in wanted:
            binding.bind_output(name, HOST)
        copies = {name: self._bind_output(binding, name, array) for name, array in into.items()}
        self._session.run_with_iobinding(binding, self._how)
        del kept  # until here: ONNX Runtime read from their memory
        came = dict(zip((*wanted, *copies), binding.get_outputs(), strict=True))
        for name in into:
            dtype = np.dtype(self.contract.output(name).dtype)
            self._check_room(name, into[name], tuple(came[name].shape()), dtype)
        for name, copy in copies.items():
            if copy is not None:
                into[name][...] = copy  # type: ignore[index]
        return {name: came[name].numpy() for name in wanted}

    def _bind_output(self, binding: Any, name: str, array: Array) -> np.ndarray | None:
        """Bind an array to write into; for one that cannot be bound, another that is copied from afterwards."""
        if isinstance(array, DeviceArray):
            _bind_address(binding.bind_output, name, array, array.pointer, self._kind, self._index)
            return None
        room = array if array.flags.c_contiguous else np.empty(array.shape, array.dtype)
        _bind_address(binding.bind_output, name, room, room.ctypes.data, HOST, 0)
        return None if room is array else room

    def _free(self) -> None:
        self._session = None


def _ports(values: Iterable[Any]) -> list[Port]:
    return [Port(value.name, DTYPES.get(value.type, value.type), value.shape) for value in values]


def open_cpu(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """Load a graph to run on the CPU.

    Raises:
        EngineError: there are no kernels for its precision; and as `OnnxRuntimeSession`.
    """
    for reason in filter(None, map(LACKING.get, _kinds(options))):
        raise EngineError(f"{contract.stage}: {reason}", contract.stage)
    return OnnxRuntimeSession(path, contract, options, CPU)


def open_cuda(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """Load a graph to run by ONNX Runtime's CUDA provider."""
    return OnnxRuntimeSession(path, contract, options, CUDA)


def open_tensorrt(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """Load a graph to run by ONNX Runtime's TensorRT provider, which compiles it on the first run."""
    return OnnxRuntimeSession(path, contract, options, TENSORRT)


def load(
    ort: Any, path: Path, contract: StageContract, options: SessionOptions, provider: Provider, *, events: str = ""
) -> Any:
    """ONNX Runtime's own session, the same whether it is to run or to be profiled.

    Args:
        ort: the module `onnxruntime`.
        path: the graph.
        contract: what it takes.
        options: how it is opened.
        provider: which of ONNX Runtime's execution providers.
        events: how the profiler's file begins; empty leaves the profiler off.
    """
    settings = session_options(ort, options, provider)
    if events:
        settings.enable_profiling, settings.profile_file_prefix = True, events
    folder = provider.folder(options, contract)
    kept = folder if folder and folder.prepare() else None
    session = ort.InferenceSession(
        str(path),
        settings,
        providers=provider.request(options, contract, kept.path if kept else None),
        disabled_optimizers=sorted({name for kind in _kinds(options) for name in HINDERING.get(kind, ())}),
    )
    if kept:
        kept.seal()
    return session


def _kinds(options: SessionOptions) -> tuple[str, ...]:
    return (options.precision, *options.kinds)


def import_onnxruntime() -> Any:
    """The module.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    with needing("onnxruntime", "cpu", "running ONNX engines"):
        import onnxruntime as ort
    return ort


def session_options(ort: Any, options: SessionOptions, provider: Provider) -> Any:
    """ONNX Runtime's own options."""
    chosen = ort.SessionOptions()
    chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    chosen.enable_mem_pattern = False  # SAM's encoder takes 4.1 GB instead of 7.2, and no longer
    if provider.kind == HOST:
        chosen.enable_mem_reuse = False  # else a value's memory waits for the next of its size: 0.6 GB, for no time
    chosen.enable_cpu_mem_arena = options.arena
    chosen.log_severity_level = 3
    if provider.kind != HOST:
        chosen.add_session_config_entry(RECORD, "1")
    if options.in_order:
        chosen.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # fusing renumbers nodes
    if options.threads is not None:
        chosen.intra_op_num_threads = options.threads
    return chosen


def run_options(ort: Any, size: int, arena: bool) -> Any:
    """ONNX Runtime's own options of every run: large engines with an arena on the CPU free what lay between layers.

    The next engine needs as much, and a large one's time hides what it takes to get memory anew: 2 % of SAM ViT-B's
    encoder at most, but 20 % of the miniature's.
    """
    chosen = ort.RunOptions()
    if arena and size >= LARGE:
        chosen.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return chosen


def _bind_input(binding: Any, name: str, array: Array, kind: str, index: int) -> np.ndarray | None:
    """Bind an input; what is returned must live until the engine has run."""
    if isinstance(array, DeviceArray):
        _bind_address(binding.bind_input, name, array, array.pointer, kind, index)
        return None
    whole = np.ascontiguousarray(array).reshape(array.shape)  # a scalar stays one
    binding.bind_cpu_input(name, whole)
    return whole


def _bind_address(bind: Any, name: str, array: Array, pointer: int, kind: str, index: int) -> None:
    bind(name, kind, index, array.dtype.type, list(array.shape), pointer)
