"""A reference's memory of a photo: every stage as its engine is fed and answers, and what it all came to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...runtime.answers.instance import Instance

if TYPE_CHECKING:
    from .networks import Networks

Tensors = dict[str, torch.Tensor]
Arrays = dict[str, np.ndarray]


@dataclass(kw_only=True)
class Trace:
    """Values that a reference computed on the way.

    Attributes:
        photo: [H, W, 3] uint8 RGB.
        settings: the parameters in force.
        stages: inputs and outputs of every stage that ran, in its engine's own layout.
        mask: [H, W] class index; None before it is decided.
        coarse: [H, W] class index before refinement, likewise.
        scores: [H, W] the winning class's probability or score, likewise.
        timings: milliseconds per step.
    """

    photo: np.ndarray
    settings: Any
    stages: dict[str, tuple[Tensors, Tensors]] = field(default_factory=dict)
    mask: np.ndarray | None = None
    coarse: np.ndarray | None = None
    scores: np.ndarray | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def regions(self) -> int:
        """How many regions were prompted."""
        return 0

    def things(self) -> tuple[Instance, ...] | None:
        """Single things, of pipelines that find them."""
        return None

    def case(self, stage: str) -> tuple[Arrays, Arrays]:
        """Inputs and outputs of a stage, as arrays."""
        inputs, outputs = self.stages[stage]
        return arrays(inputs), arrays(outputs)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add a block's milliseconds under a name."""
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + (time.perf_counter() - start) * 1e3


def run_stage(networks: Networks, stage: str, trace: Trace, **inputs: torch.Tensor) -> Tensors:
    """Run a stage's module, and remember what went in and out."""
    with trace.time(stage):
        outputs = networks.modules[stage](*inputs.values())
    names = networks.contract(stage).output_names
    named = dict(zip(names, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))
    trace.stages[stage] = (inputs, named)
    return named


def arrays(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    """Tensors as contiguous arrays; a scalar stays one."""
    return {
        name: np.ascontiguousarray(tensor.numpy()) if tensor.ndim else tensor.numpy()
        for name, tensor in tensors.items()
    }
