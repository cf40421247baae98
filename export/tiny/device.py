"""Where training computes. Scenes, prompts and random numbers are made on the CPU; batches are moved."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch

Batch = TypeVar("Batch", bound=tuple[Any, ...])


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU if there is one."""
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(automatic if name == "auto" else name)


def compute_repeatably(device: torch.device) -> None:
    """Have this process add gradients up in the same order each time.

    Those of SAM's relative positions would be in any, by threads. On a GPU some operators cannot, and warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses; read when it starts
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")


def device_of(module: torch.nn.Module) -> torch.device:
    """Where a module's parameters are."""
    return next(module.parameters()).device


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch, a named tuple, with its tensors on a device."""
    named: Any = batch
    tensors = {name: value.to(device) for name, value in named._asdict().items() if isinstance(value, torch.Tensor)}
    there: Batch = named._replace(**tensors)
    return there
