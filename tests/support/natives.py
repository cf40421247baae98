"""What the backends of a CPU run, for tests that run all of it."""

from __future__ import annotations

from ovdeploy.runtime.stage.precision import FP8, FP32, HALF, INT8, INT8W

HERE = ("openvino", "onnxruntime")
"""The backends. What the others refuse on a CPU has tests of its own."""

PRECISIONS = (FP32, *HALF, INT8W, INT8, FP8)

REFUSED = {("onnxruntime", "bf16"), ("openvino", "int8w"), ("openvino", "fp8")}
"""What a backend does not compute, and says so."""

BY_CPU = {("openvino", "bf16")}
"""What a backend has where the CPU has it."""

PROMISED = [
    (backend, precision) for backend in HERE for precision in PRECISIONS if (backend, precision) not in REFUSED | BY_CPU
]
"""What every machine runs."""
