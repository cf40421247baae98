"""TensorRT plans run by cuda-python: fixed buffers, one stream, graphs where they measure faster."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BundleError, EngineError
from ...stage.arrays import Array, Block, DeviceArray
from ...stage.contract import StageContract
from ..base import Session
from ..options import SessionOptions
from .blocks import ALIGNMENT, CudaBlock, KeptBlock, Pinned
from .checks import check_profile, check_signature, input_limits, largest_outputs
from .graphs import Call, Graphs
from .libraries import LIBRARIES
from .library import Contexts, Library, errors_of, make_logger


class TensorRTSession(Session):
    """A plan with its execution context and its buffers. Not for several threads at once.

    Buffers of inputs and outputs are as large as the profile's maximum, and allocated when they are first used: an
    array that another stage left on the GPU is read where it lies. A run enqueues its copies and kernels on a stream
    that is this engine's alone and waits for them, so that an error of the GPU is told of the stage that caused it, and
    an engine of another stream reads only what is there. Runs of several engines may overlap.

    Arrays are stacked on the GPU.

    Attributes:
        graphs: which shapes run as CUDA graphs, and what they measured.
    """

    stacks = True

    def __init__(
        self, path: Path, contract: StageContract, options: SessionOptions, library: Library = LIBRARIES["tensorrt"]
    ) -> None:
        """Open a plan.

        Args:
            path: the plan's file, already verified and found to fit this machine.
            contract: what the bundle says it takes and gives.
            options: the device, whether plans may bring code for the host, and the backend's own options.
            library: what built the plan.

        Raises:
            BundleError: the library cannot open the plan, or it is not the contract's.
            EngineError: no GPU can be used here, or its memory is too small.
            MissingExtraError: the library or cuda-python is not installed.
        """
        super().__init__(contract)
        self._library, self._again = library, _building(path, contract.stage, library, options.precision)
        self._trt = library.load()
        self._cuda = library.gpu(options.device)
        self.device = self._cuda.label
        names = (*contract.input_names, *contract.output_names)
        self._buffers = {name: CudaBlock(self._cuda) for name in names}
        self._rooms = {name: CudaBlock(self._cuda) for name in names}
        self._pinned = {name: Pinned(self._cuda) for name in names}
        self._staged = Pinned(self._cuda)
        self._scratch = CudaBlock(self._cuda)
        self.graphs = Graphs(self._cuda, self._new_context, self._prepare, self._execute_async)
        self._context: Any = None
        self._contexts: Contexts | None = None
        self._captures = True
        self._engine: Any = None
        self._runtime: Any = None
        try:
            self._open(path, options)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, options: SessionOptions) -> None:
        self._logger = make_logger(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._runtime.engine_host_code_allowed = options.allow_host_code
        plan = path.read_bytes()
        if refusal := self._library.refusal(self._trt, self._runtime, plan):
            raise BundleError(f"{self._library.title} will not open {path}: {refusal}. Build it again: {self._again}")
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BundleError(f"{self._library.title} cannot open {path}.{errors_of(self._logger)}")
        check_signature(self._trt, self._engine, path, self.contract)
        self._scratch.reserve(max(self._engine.device_memory_size_v2, 1))
        self._contexts = self._library.contexts(self._trt, self._engine, str(path), self._cuda.name, options)
        self._captures = self._library.captures(options)
        self._context = self._new_context()
        self._limits = input_limits(self._engine, self.contract)
        self._largest = largest_outputs(self._context, self.contract, self._limits)

    def _new_context(self) -> Any:
        """An execution context in the scratch memory that all contexts of this engine share."""
        assert self._contexts is not None
        context = self._contexts.create()
        if context is None:
            told = f"{self.contract.stage} finds no room on the GPU.{errors_of(self._logger)}"
            raise EngineError(told, self.contract.stage)
        context.set_device_memory(self._scratch.pointer, self._engine.device_memory_size_v2)
        return context

    def put(self, name: str, array: np.ndarray) -> Array:
        """An input brought to the GPU; it stands until the next array of this name is brought."""
        self._refuse_unusable()
        self._cuda.activate()
        block = self._rooms[name].give_out(array.nbytes)
        self._staged.view(array.shape, array.dtype)[...] = array
        self._cuda.copy(block.pointer, self._staged.pointer, array.nbytes)
        self._cuda.synchronize()
        return DeviceArray(block, array.shape, array.dtype, self.contract.stage)

    def empty(self, name: str, **sizes: int) -> Array:
        """Room for an output on the GPU; it stands until room for this output is made again."""
        self._refuse_unusable()
        self._cuda.activate()
        spec = self.contract.output(name)
        shape, dtype = spec.sized(sizes), np.dtype(spec.dtype)
        block = self._rooms[name].give_out(_bytes(shape, dtype))
        return DeviceArray(block, shape, dtype, self.contract.stage)

    def keep(self, array: Array) -> Array:
        """A copy in memory of its own, which is freed with the last array in it."""
        if not isinstance(array, DeviceArray):
            return array
        self._refuse_unusable()
        self._cuda.activate()
        block = KeptBlock(self._cuda, array.nbytes)
        self._cuda.copy(block.pointer, array.pointer, array.nbytes)
        self._cuda.synchronize()  # engines of other streams read it, and may write over what it was copied from
        return DeviceArray(block, array.shape, array.dtype, array.origin)

    def stack(self, name: str, arrays: Sequence[Array]) -> Array:
        """An input put together on the GPU; it stands until the next array of this name is brought."""
        if not all(isinstance(array, DeviceArray) and array.device == self.device for array in arrays):
            return super().stack(name, arrays)
        self._refuse_unusable()
        self._cuda.activate()
        first = arrays[0]
        block = self._rooms[name].give_out(len(arrays) * first.nbytes)
        for place, array in enumerate(arrays):
            self._cuda.copy(block.pointer + place * first.nbytes, array.pointer, first.nbytes)  # type: ignore[union-attr]
        self._cuda.synchronize()
        return DeviceArray(block, (len(arrays), *first.shape), first.dtype, self.contract.stage)

    def tune(self) -> None:
        """Capture a CUDA graph for each of the shapes seen last, and keep it if it is faster; keep compiled kernels."""
        self._cuda.activate()
        if self._captures:
            self.graphs.tune()
        if self._contexts is not None:
            self._contexts.save()

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        try:
            return self._run_through(feeds, into)
        except BaseException:
            with contextlib.suppress(EngineError):  # what is under way reads and writes other engines' memory
                self._cuda.synchronize()
            raise

    def _run_through(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        self._cuda.activate()
        check_profile(self.contract, feeds, self._limits, self._again)
        there = {name: array for name, array in into.items() if isinstance(array, DeviceArray)}
        placed = {name: self._bring(name, array) for name, array in feeds.items()}
        placed |= {name: self._target(name, there.get(name)) for name in self.contract.output_names}
        shapes = tuple((name, tuple(array.shape)) for name, array in feeds.items())
        addresses = tuple((name, address) for name, (address, _) in placed.items())
        call, blocks = Call(shapes, addresses), [block for _, block in placed.values()]
        context = self.graphs.enqueue(self._context, call, blocks)
        for name, array in there.items():
            self._check_room(name, array, tuple(context.get_tensor_shape(name)), self._dtype(name))
            if array.pointer != placed[name][0]:
                self._cuda.copy(array.pointer, placed[name][0], array.nbytes)
        taken = {name: self._take(context, name) for name in self.contract.output_names if name not in there}
        self._cuda.synchronize()
        for name in set(into) - set(there):
            self._check_room(name, into[name], taken[name].shape, taken[name].dtype)
            into[name][...] = taken.pop(name)  # type: ignore[index]
        return {name: view.copy() for name, view in taken.items()}  # the pinned memory is used again

    def _bring(self, name: str, array: Array) -> tuple[int, Block]:
        """Where the engine finds an input; enqueues the copy if it needs one."""
        if isinstance(array, DeviceArray) and array.pointer % ALIGNMENT == 0:
            return array.pointer, array.block
        largest = self._limits[name][1]
        block = self._buffers[name].reserve(_bytes(largest, array.dtype))
        if isinstance(array, DeviceArray):
            self._cuda.copy(block.pointer, array.pointer, array.nbytes)
        else:
            self._pinned[name].view(largest, array.dtype)  # as large as it will ever be
            self._pinned[name].view(array.shape, array.dtype)[...] = array
            self._cuda.copy(block.pointer, self._pinned[name].pointer, array.nbytes)
        return block.pointer, block

    def _target(self, name: str, room: DeviceArray | None) -> tuple[int, Block]:
        """Where the engine leaves an output."""
        if room is not None and room.pointer % ALIGNMENT == 0:
            return room.pointer, room.block
        block = self._buffers[name].reserve(_bytes(self._largest[name], self._dtype(name)))
        return block.pointer, block

    def _take(self, context: Any, name: str) -> np.ndarray:
        """Enqueue the copy of an output to pinned memory; it is there after synchronising."""
        shape, dtype = tuple(context.get_tensor_shape(name)), self._dtype(name)
        self._pinned[name].view(self._largest[name], dtype)
        view = self._pinned[name].view(shape, dtype)
        self._cuda.copy(self._pinned[name].pointer, self._buffers[name].pointer, view.nbytes)
        return view

    def _prepare(self, context: Any, call: Call) -> None:
        for name, shape in call.shapes:
            if not context.set_input_shape(name, shape):
                raise self._refused(f"{name} of shape {list(shape)}")
        for name, address in call.addresses:
            if not context.set_tensor_address(name, address):
                raise self._refused(f"the address of {name}")

        self._check_outputs(context, call)

    def _check_outputs(self, context: Any, call: Call) -> None:
        """Refuse a plan whose outputs would not be as the contract says, before it writes past the end of their room.

        Raises:
            EngineError: says what was expected and what would come.
        """
        shapes, sizes = dict(call.shapes), dict[str, int]()
        for spec in self.contract.inputs:
            self.contract.check_shape(spec, shapes[spec.name], sizes)
        for spec in self.contract.outputs:
            came = "would come out of the engine as"
            self.contract.check_shape(spec, tuple(context.get_tensor_shape(spec.name)), sizes, came)

    def _refused(self, what: str) -> EngineError:
        told = f"{self.contract.stage}: {self._library.title} refuses {what}.{errors_of(self._logger)}"
        return EngineError(told, self.contract.stage)

    def _execute_async(self, context: Any) -> None:
        if not context.execute_async_v3(self._cuda.stream):
            told = f"{self._library.title} could not enqueue {self.contract.stage}.{errors_of(self._logger)}"
            raise EngineError(told, self.contract.stage)

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(self.contract.output(name).dtype)

    def _free(self) -> None:
        blocks = (*self._buffers.values(), *self._rooms.values())
        memories: list[CudaBlock | Pinned] = [*blocks, *self._pinned.values(), self._staged, self._scratch]
        with contextlib.suppress(EngineError):  # a GPU that failed fails again here, and was told of
            self._cuda.activate()
            self.graphs.close()
        with contextlib.suppress(Exception):  # kernels that cannot be kept are compiled again
            if self._contexts is not None:
                self._contexts.save()
        self._context = self._contexts = None  # contexts, then the engine, then its runtime
        self._engine = None
        self._runtime = None
        with contextlib.suppress(EngineError):
            for memory in memories:
                memory.release()
        with contextlib.suppress(EngineError):
            self._cuda.close()


def _building(path: Path, stage: str, library: Library, precision: str) -> str:
    """The command that builds a plan again; plans lie in their bundle's folder."""
    options = ["--stages", stage, "--precision", precision, "--backend", library.backend]
    return shlex.join(["ovdeploy", "build-plans", "--bundle", str(path.parent), *options])


def open_plan(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """Open a TensorRT plan."""
    return TensorRTSession(path, contract, options)


def open_rtx_plan(path: Path, contract: StageContract, options: SessionOptions) -> Session:
    """Open a TensorRT-RTX plan."""
    return TensorRTSession(path, contract, options, LIBRARIES["tensorrt-rtx"])


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
