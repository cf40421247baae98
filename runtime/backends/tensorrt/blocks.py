"""Blocks of memory that engines read and write: a GPU's own, and pages of the host that it copies to at full speed."""

from __future__ import annotations

import contextlib
import os
import weakref

import numpy as np

from ...errors import EngineError
from ...stage.arrays import Block
from .cuda import Cuda

ALIGNMENT = 256
"""Bytes: TensorRT's kernels may count on addresses that are multiples of it, as cudaMalloc's are."""


class CudaBlock(Block):
    """Memory of a GPU that is allocated when it is first wanted, and anew only when more is."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__(cuda.label, 0)
        self._cuda = cuda
        self._size = 0

    def reserve(self, size: int) -> CudaBlock:
        """Hold at least `size` bytes."""
        if size > self._size:
            self.release()
            self.pointer = self._cuda.allocate(size)
            self._size = size
        return self

    def give_out(self, size: int) -> CudaBlock:
        """Hold at least `size` bytes, and make the arrays that were in them stale."""
        self.generation += 1
        return self.reserve(size)

    def read(self, offset: int, size: int) -> np.ndarray:
        """[size] uint8: bytes of the block, copied to the host."""
        host = np.empty(size, np.uint8)
        self._cuda.refuse_closed()
        self._cuda.activate()
        self._cuda.copy(host.ctypes.data, self.pointer + offset, size)
        self._cuda.synchronize()
        return host

    def release(self) -> None:
        """Free the memory."""
        if self._size:
            self._cuda.free(self.pointer)
            self.pointer = self._size = 0


class KeptBlock(CudaBlock):
    """Memory of a GPU that is never given out again, and freed when nobody holds it."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        super().__init__(cuda)
        self.reserve(size)
        weakref.finalize(self, _freed, cuda, self.pointer, os.getpid()).atexit = False


def _freed(cuda: Cuda, pointer: int, home: int) -> None:
    """Free memory in the process that allocated it; a GPU that failed was told of."""
    if os.getpid() == home:
        with contextlib.suppress(EngineError):
            cuda.leave(pointer)


class Pinned:
    """Page-locked memory of the host: the GPU copies to and from it at full speed."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._memory = np.zeros(0, np.uint8)
        self.pointer = 0

    def view(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array over the beginning of the memory, which grows if it must."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size > self._memory.size or not self.pointer:
            self.release()
            self.pointer, self._memory = self._cuda.allocate_pinned(size)
        return self._memory[:size].view(dtype).reshape(shape)

    def release(self) -> None:
        """Free the memory."""
        if self.pointer:
            self._memory = np.zeros(0, np.uint8)
            self._cuda.free_pinned(self.pointer)
            self.pointer = 0
