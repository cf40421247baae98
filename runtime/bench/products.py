"""The machine's peak: a matrix product of the size that dominates a ViT-B, by every library that is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backends.openvino.session import import_openvino
from ..errors import EngineError
from .plan import ProductSpec

SHAPE = (4096, 768, 3072)
"""[m, k] times [k, n]: SAM's 4096 tokens through ViT-B's MLP."""

FLOPS = 2 * SHAPE[0] * SHAPE[1] * SHAPE[2]

REPEATS = 3

OPENVINO_HINTS = {"fp32": "f32", "bf16": "bf16"}


class Timed:
    """A product, ready to be computed."""

    def __init__(self, multiply: Callable[[], Any]) -> None:
        """Compute it once, since a first time pays for threads and packing."""
        self._multiply = multiply
        multiply()

    def seconds(self) -> float:
        """The shortest of a few."""
        return min(self._once() for _ in range(REPEATS))

    def _once(self) -> float:
        start = time.perf_counter()
        self._multiply()
        return time.perf_counter() - start


def factors() -> tuple[np.ndarray, np.ndarray]:
    """[m, k] and [k, n] float32, seeded."""
    rng = np.random.default_rng(0)
    m, k, n = SHAPE
    return rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)


@contextmanager
def numpy_product(spec: ProductSpec) -> Iterator[Timed]:
    """By NumPy, with the BLAS that it was built with. FP32 only."""
    if spec.precision != "fp32":
        raise EngineError(f"NumPy has no {spec.precision}")
    left, right = factors()
    room = np.empty((SHAPE[0], SHAPE[2]), np.float32)
    yield Timed(lambda: np.matmul(left, right, out=room))


@contextmanager
def openvino_product(spec: ProductSpec) -> Iterator[Timed]:
    """By OpenVINO, with the right factor as a weight, as in its engines.

    Raises:
        MissingExtraError: openvino is not installed.
        EngineError: the CPU does not have this precision.
    """
    ov = import_openvino()
    from openvino import opset13 as ops

    left, right = factors()
    core = ov.Core()
    if spec.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError("OpenVINO: this CPU has no bf16")
    parameter = ops.parameter(list(left.shape), np.float32)
    model = ov.Model([ops.matmul(parameter, ops.constant(right), False, False)], [parameter])
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": OPENVINO_HINTS[spec.precision], "PERFORMANCE_HINT": "LATENCY"}
    if spec.threads is not None:
        hints["INFERENCE_NUM_THREADS"] = spec.threads
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    request.set_input_tensor(ov.Tensor(left))
    yield Timed(request.infer)
