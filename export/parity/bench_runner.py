"""The PyTorch reference in `ovdeploy bench --against torch`, and PyTorch's matrix product."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...runtime.bench.plan import Outcome, ProductSpec, RunnerSpec
from ...runtime.bench.products import Timed, factors
from ...runtime.errors import needing
from ...runtime.words.vocabulary import Vocabulary
from .rival import load_reference


@contextmanager
def torch_runner(spec: RunnerSpec) -> Iterator[TorchRunner]:
    """The reference with the weights of a bundle's export.

    Raises:
        MissingExtraError: PyTorch or one of its companions is not installed.
        WeightsError: the weights are not to be had, or are not those of the export.
    """
    reference = load_reference(spec.bundle, spec.weights)
    import torch

    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    yield TorchRunner(reference, spec.parameters)


class TorchRunner:
    """The reference, measured from outside."""

    def __init__(self, reference: Any, parameters: Mapping[str, Any] | None) -> None:
        self._reference = reference
        self._parameters = dict(parameters or {})

    def run(self, photo: np.ndarray, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None = None) -> Outcome:
        """Segment [H, W, 3] uint8 RGB once."""
        overrides = {**self._parameters, **(parameters or {})}
        start = time.perf_counter()
        trace = self._reference.segment(photo, vocabulary, parameters=overrides)
        milliseconds = (time.perf_counter() - start) * 1e3
        assert trace.mask is not None and trace.coarse is not None
        return Outcome(milliseconds, dict(trace.timings), trace.mask, trace.coarse, trace.regions)


@contextmanager
def torch_product(spec: ProductSpec) -> Iterator[Timed]:
    """By PyTorch, in eager mode.

    Raises:
        MissingExtraError: torch is not installed.
    """
    with needing("torch", "export", "PyTorch's matrix product"):
        import torch
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[spec.precision]
    left, right = (torch.from_numpy(factor).to(dtype) for factor in factors())
    room = torch.empty(left.shape[0], right.shape[1], dtype=dtype)
    with torch.no_grad():
        yield Timed(lambda: torch.mm(left, right, out=room))
