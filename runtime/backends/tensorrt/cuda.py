"""One GPU by cuda-python: its memory, one stream, and graphs captured on it."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...errors import EngineError, needing

NON_BLOCKING = 1
"""cudaStreamNonBlocking."""


_here = threading.local()
"""Has `capturing` while this thread captures a graph, on whichever stream."""


def import_cuda(extra: str = "tensorrt") -> Any:
    """cuda-python's binding of the CUDA runtime.

    Args:
        extra: of ours, that brings it with the library that needs it.

    Raises:
        MissingExtraError: cuda-python is not installed.
    """
    with needing("cuda-python", extra, "running on a GPU"):
        from cuda.bindings import runtime
    return runtime


class Cuda:
    """A GPU with one stream. Everything is enqueued on that stream; `synchronize` waits for it.

    The driver is asked before anything else: on a box without one, TensorRT itself may end the process.

    Attributes:
        index: as CUDA counts GPUs.
        name: "NVIDIA H100 80GB HBM3", for example.
        capability: compute capability, (9, 0) for example.
        stream: the stream's handle.
    """

    def __init__(self, index: int = 0, extra: str = "tensorrt") -> None:
        """Take hold of a GPU.

        Args:
            index: as CUDA counts GPUs.
            extra: of ours, that installs cuda-python beside the library that runs here.

        Raises:
            MissingExtraError: cuda-python is not installed.
            EngineError: no driver, a driver that is too old, or no such GPU.
        """
        self._runtime = runtime = import_cuda(extra)
        error, count = runtime.cudaGetDeviceCount()
        if int(error) or not count:
            raise EngineError(
                f"no NVIDIA GPU can be used here: {_told(runtime, error) if int(error) else 'none found'}"
            )
        if index >= count:
            raise EngineError(f"there is no GPU {index}: CUDA finds {count}, counted from 0")
        self.index = index
        self.activate()
        properties = self._checked(runtime.cudaGetDeviceProperties(index))
        self.name = properties.name.decode(errors="replace").strip("\x00 ")
        self.capability = (int(properties.major), int(properties.minor))
        self._stream = self._checked(runtime.cudaStreamCreateWithFlags(NON_BLOCKING))
        self.stream = int(self._stream)
        self._closed = False
        self._left: deque[int] = deque()

    @property
    def label(self) -> str:
        """The name its arrays give it."""
        return f"cuda:{self.index}"

    def activate(self) -> None:
        """Make this GPU the calling thread's."""
        self._checked(self._runtime.cudaSetDevice(self.index))

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of the GPU's memory; what could not be freed earlier is freed first."""
        self._sweep()
        with self._beside_captures():
            return int(self._checked(self._runtime.cudaMalloc(max(size, 1))))

    def free(self, pointer: int) -> None:
        """Give memory back."""
        with self._beside_captures():
            self._checked(self._runtime.cudaFree(pointer))

    def leave(self, pointer: int) -> None:
        """Give memory back from wherever Python finalises what held it: any thread, at any moment.

        It is freed here and now, unless this thread captures a graph, which freeing would spoil, or another GPU is
        its present one, which is not ours to change. Then it waits for the next allocation, or for `close`.
        """
        self._left.append(pointer)
        capturing = getattr(_here, "capturing", False)
        if not capturing and (self._closed or self._checked(self._runtime.cudaGetDevice()) == self.index):
            self._sweep()

    def _sweep(self) -> None:
        while self._left:
            with contextlib.suppress(IndexError):  # another thread took the last one
                self.free(self._left.pop())

    def allocate_pinned(self, size: int) -> tuple[int, np.ndarray]:
        """Page-locked memory of the host: its address, and [size] uint8 over it."""
        with self._beside_captures():
            pointer = int(self._checked(self._runtime.cudaMallocHost(max(size, 1))))
        memory: Any = (ctypes.c_ubyte * max(size, 1)).from_address(pointer)
        return pointer, np.frombuffer(memory, np.uint8)

    def free_pinned(self, pointer: int) -> None:
        """Give page-locked memory back."""
        with self._beside_captures():
            self._checked(self._runtime.cudaFreeHost(pointer))

    @contextlib.contextmanager
    def _beside_captures(self) -> Iterator[None]:
        """Let this thread allocate though another may be capturing a graph, which else forbids that to all threads.

        (CUDA's own word for it, in `cudaThreadExchangeStreamCaptureMode`; PyTorch's allocator does the same.)
        """
        runtime = self._runtime
        relaxed = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        before = self._checked(runtime.cudaThreadExchangeStreamCaptureMode(relaxed))
        try:
            yield
        finally:
            self._checked(runtime.cudaThreadExchangeStreamCaptureMode(before))

    def copy(self, to: int, source: int, size: int) -> None:
        """Enqueue a copy of bytes between any two addresses; the driver sees from them which way it goes."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDefault
        self._checked(self._runtime.cudaMemcpyAsync(to, source, size, kind, self._stream))

    def synchronize(self) -> None:
        """Wait until all that was enqueued is done; errors of the GPU come out here."""
        self._checked(self._runtime.cudaStreamSynchronize(self._stream))

    def capture(self, enqueue: Callable[[], None]) -> Any:
        """Record what a function enqueues as a graph that can be launched again; nothing runs.

        Raises:
            EngineError: something in it cannot be captured. The stream is usable again.
        """
        runtime = self._runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._checked(runtime.cudaStreamBeginCapture(self._stream, mode))
        failure: BaseException | None = None
        _here.capturing = True
        try:
            enqueue()
        except Exception as error:
            failure = error
        finally:
            _here.capturing = False
        ended, graph = runtime.cudaStreamEndCapture(self._stream)
        if failure is not None or int(ended):
            if not int(ended):
                runtime.cudaGraphDestroy(graph)
            runtime.cudaGetLastError()  # clears it: it would be told again by a later call that is innocent
            raise EngineError(f"cannot be captured as a graph: {failure or _told(runtime, ended)}") from failure
        try:
            return self._checked(runtime.cudaGraphInstantiate(graph, 0))
        finally:
            runtime.cudaGraphDestroy(graph)

    def launch(self, graph: Any) -> None:
        """Enqueue a captured graph."""
        self._checked(self._runtime.cudaGraphLaunch(graph, self._stream))

    def forget(self, graph: Any) -> None:
        """Free a captured graph."""
        self._checked(self._runtime.cudaGraphExecDestroy(graph))

    def milliseconds(self, enqueue: Callable[[], None], repeats: int) -> float:
        """Mean time of one call on the GPU, launch gaps included, after one call that is not counted."""
        runtime = self._runtime
        begin, end = (self._checked(runtime.cudaEventCreate()) for _ in range(2))
        enqueue()
        self._checked(runtime.cudaEventRecord(begin, self._stream))
        for _ in range(repeats):
            enqueue()
        self._checked(runtime.cudaEventRecord(end, self._stream))
        self.synchronize()
        elapsed = float(self._checked(runtime.cudaEventElapsedTime(begin, end)))
        for event in (begin, end):
            self._checked(runtime.cudaEventDestroy(event))
        return elapsed / repeats

    def refuse_closed(self) -> None:
        """Refuse to use the stream when it is gone.

        Raises:
            EngineError: says what to do.
        """
        if self._closed:
            raise EngineError("the engines that left this on the GPU are closed; copy it to the host before")

    def close(self) -> None:
        """Destroy the stream; closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._sweep()
            self._checked(self._runtime.cudaStreamDestroy(self._stream))

    def _checked(self, result: tuple[Any, ...]) -> Any:
        """The value a call returned beside its error code.

        Raises:
            EngineError: the code is not success.
        """
        if int(result[0]):
            raise EngineError(_told(self._runtime, result[0]))
        return result[1] if len(result) > 1 else None


def _told(runtime: Any, error: Any) -> str:
    """A CUDA error in words, with what to do about the common one."""
    words = runtime.cudaGetErrorString(error)[1]
    text = words.decode() if isinstance(words, bytes) else str(words)
    hint = "; install or update NVIDIA's driver" if int(error) == 35 else ""
    return f"CUDA error {int(error)}, {text}{hint}"
