"""Arrays that stay where an engine computes, so that what is larger than the logits never crosses to the host.

A host session takes and gives NumPy arrays. A device session also takes and fills `DeviceArray`s: handles that the
pipeline passes on from stage to stage, cuts along the first axis and reshapes, without looking inside.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from ..errors import EngineError


class Block(ABC):
    """A piece of a device's memory.

    Attributes:
        device: where it lies, "cuda:0" for example. Engines of one device may read each other's blocks.
        pointer: its address.
        generation: grows when the block is given out again; arrays of an earlier generation are stale.
    """

    def __init__(self, device: str, pointer: int) -> None:
        self.device = device
        self.pointer = pointer
        self.generation = 0

    @abstractmethod
    def read(self, offset: int, size: int) -> np.ndarray:
        """[size] uint8: bytes of the block, copied to the host."""


class DeviceArray:
    """A contiguous array in a block of device memory."""

    def __init__(self, block: Block, shape: tuple[int, ...], dtype: np.dtype, origin: str, offset: int = 0) -> None:
        """A view of a block.

        Args:
            block: the memory.
            shape: sizes of the axes.
            dtype: of the elements.
            origin: the stage that fills it, for messages.
            offset: bytes from the block's beginning.
        """
        self.block = block
        self.shape = shape
        self.dtype = dtype
        self.origin = origin
        self._offset = offset
        self._generation = block.generation

    @property
    def device(self) -> str:
        """Where it lies."""
        return self.block.device

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def pointer(self) -> int:
        """Address of the first element.

        Raises:
            EngineError: the memory has been given out again since.
        """
        if self._generation != self.block.generation:
            raise EngineError(
                f"what the {self.origin} engine made has been overwritten by a later photo; copy it with .numpy() "
                f"before the next call if you need both",
                self.origin,
            )
        return self.block.pointer + self._offset

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> DeviceArray:
        """Some consecutive rows, without a copy.

        Raises:
            EngineError: they are not consecutive.
        """
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise EngineError(f"rows of an array on the device are taken one after another, not by steps of {step}")
        row = self.nbytes // len(self) if len(self) else 0
        return self._view((max(stop - start, 0), *self.shape[1:]), start * row)

    def reshape(self, *shape: int) -> DeviceArray:
        """The same elements in another shape, without a copy.

        Raises:
            EngineError: that has more elements, or fewer.
        """
        if math.prod(shape) != math.prod(self.shape):
            raise EngineError(f"an array on the device of shape {list(self.shape)} cannot become {list(shape)}")
        return self._view(shape, 0)

    def numpy(self) -> np.ndarray:
        """A copy on the host.

        Raises:
            EngineError: the memory has been given out again since.
        """
        start = self.pointer - self.block.pointer
        return self.block.read(start, self.nbytes).view(self.dtype).reshape(self.shape)

    def _view(self, shape: tuple[int, ...], further: int) -> DeviceArray:
        view = DeviceArray(self.block, shape, self.dtype, self.origin, self._offset + further)
        view._generation = self._generation
        return view


Array = np.ndarray | DeviceArray


def to_host(array: Array) -> np.ndarray:
    """The array itself if it is NumPy's, else a copy on the host."""
    return array.numpy() if isinstance(array, DeviceArray) else array
