"""Options for opening engines. Backends read what concerns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ParameterError, shown
from ..geometry.limits import DEVICES, Range

MOST_THREADS = 256
"""Threads that may be asked for, of an engine or for photos. More than cores are slower, and 100,000 never start."""


@dataclass(frozen=True)
class SessionOptions:
    """How engines are opened."""

    threads: int | None = None
    """Threads within an operator on the CPU; None leaves the choice to the backend."""
    in_order: bool = False
    """Whether ONNX Runtime runs the nodes in the file's order, so that a value is freed behind the nodes that stand
    after it; its own order is by outputs, and keeps what many small outputs are made from."""
    arena: bool = True
    """Whether ONNX Runtime keeps freed memory for the next run on the CPU; without it peaks are lower."""
    device: int = 0
    """Which GPU, as CUDA counts them."""
    allow_fallback: bool = False
    """Whether work that the GPU provider does not take may run on the CPU instead."""
    allow_host_code: bool = False
    """Whether version-compatible TensorRT plans may be opened: they bring code for the host, so trust their source."""
    of_backend: Mapping[str, str] = field(default_factory=dict)
    """Options that only this backend has, by name: `Backend.options`."""
    precision: str = "fp32"
    """The precision to compute in."""
    kinds: tuple[str, ...] = ()
    """Precisions of the graph's weights, as its census has them; empty if nobody counted."""
    identity: str = ""
    """A hash of the engine's files, for backends that keep what they compile; empty: it is not kept."""
    size: int = 0
    """Bytes of the engine's files, external data included; 0 means those of the graph's file."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Sizes of the dynamic axes, for backends that compile for them."""

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise ParameterError(
                f"threads={shown(self.threads)}: expected 1 to {MOST_THREADS}, or None for the backend's own choice"
            )
        if not 0 <= self.device <= DEVICES:
            raise ParameterError(f"device={shown(self.device)}: expected the number of a GPU, 0 to {DEVICES}")
