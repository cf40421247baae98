"""The precisions that engines go by, and what is said of several of them."""

from __future__ import annotations

FP32, INT8 = "fp32", "int8"

HALF = ("fp16", "bf16")
"""Those that live in a graph as 16-bit types."""

INT8W, FP8 = "int8w", "fp8"

LOWERED = (*HALF, INT8, INT8W, FP8)
"""Those of which an engine must show that it has them: a plan by its layers, a graph by its census."""

QUANTISED = (INT8, FP8)
"""Those whose products are between dequantised values: `ovdeploy calibrate` makes them."""

RESTS = {INT8W: "fp16", FP8: "fp16", INT8: FP32}
"""What is not quantised is in this precision, unless another is asked for."""

STORED_AS = {INT8W: INT8}
"""The type that shows a precision, where it has another name: weights alone in INT8."""
