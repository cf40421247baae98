"""Options for building a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import ParameterError, one_of
from ...geometry.limits import Range

BUILDERS = ("tensorrt", "tensorrt-rtx")
"""The keys of `libraries.LIBRARIES`, for those who only name them."""

HARDWARE = {"none": "NONE", "ampere-plus": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
"""Which other GPUs a plan may run on, in TensorRT's words."""


@dataclass(frozen=True)
class PlanOptions:
    """How plans are built. Precision is not among them: it lies in the graph."""

    optimization_level: int = 3
    """0 builds fastest, 5 searches longest."""
    workspace: int | None = None
    """Bytes that a layer may use as scratch; None means all of the GPU's memory."""
    tf32: bool = False
    """Whether FP32 products may be computed with 10 bits of mantissa. TensorRT's own default is yes."""
    version_compatible: bool = False
    """Whether newer versions of TensorRT should be able to run the plan."""
    hardware_compatibility: str = "none"
    """A key of `HARDWARE`."""
    targets: tuple[str, ...] = ()
    """Keys of `targets.TARGETS` that TensorRT-RTX builds for; none means Ampere and later."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Sizes of dynamic axes, where the recipe's are not wanted."""

    def __post_init__(self) -> None:
        if not 0 <= self.optimization_level <= 5:
            raise ParameterError(f"optimization_level={self.optimization_level}: expected 0 to 5")
        if self.workspace is not None and self.workspace < 1:
            raise ParameterError(f"workspace={self.workspace}: expected a number of bytes, or None for no limit")
        if self.hardware_compatibility not in HARDWARE:
            raise ParameterError(one_of("hardware compatibility", self.hardware_compatibility, HARDWARE))
