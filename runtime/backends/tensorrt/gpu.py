"""TensorRT: plans are built on the GPU that they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ExportError, ParameterError
from ..options import SessionOptions
from .layers import layers_by_precision
from .library import Contexts, Here, Library, errors_of, make_logger, slug
from .options import HARDWARE, PlanOptions
from .targets import numbers


class TensorRT(Library):
    """TensorRT 10 and 11."""

    title, backend, module, package = "TensorRT", "tensorrt", "tensorrt", "tensorrt"
    extra, tag = "tensorrt", "trt"
    advice = "more --workspace or smaller --range may help"

    def builds_here(self, options: PlanOptions, device: int) -> Here:
        """A GPU is needed."""
        return self.here(device)

    def check(self, options: PlanOptions, precision: str) -> None:
        """It builds for the GPU that it finds, and knows no targets."""
        if options.targets:
            raise ParameterError(
                "--target is TensorRT-RTX's: TensorRT builds for the GPU that it finds; --hardware-compatibility says "
                "on which others its plans run"
            )

    def place(self, options: PlanOptions, here: Here) -> str:
        """GPU and compute capability."""
        return f"{slug(here.gpu)}.sm{here.compute_capability}"

    def configure(self, trt: Any, config: Any, options: PlanOptions, timings: bytes) -> None:
        """Levels, scratch memory and the timing cache."""
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector cannot tell precisions
        config.builder_optimization_level = options.optimization_level
        level = HARDWARE[options.hardware_compatibility]
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if not config.set_timing_cache(config.create_timing_cache(timings), False):  # another GPU's or version's
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def learnt(self, trt: Any, config: Any, network: Any, plan: bytes, stage: str) -> tuple[bytes, dict[str, int]]:
        """The timing cache, and what the engine inspector tells of layers."""
        return bytes(config.get_timing_cache().serialize()), inspect_plan(trt, plan, stage)

    def misfits(self, plan: Any, here: Here) -> list[str]:
        """Another version, or another GPU, as far as the plan was not built to be compatible."""
        reasons = []
        newer = numbers(here.tensorrt) >= numbers(plan.tensorrt)
        if plan.tensorrt != here.tensorrt and not (plan.version_compatible and newer):
            reasons.append(f"built by TensorRT {plan.tensorrt}, here is {here.tensorrt}")
        if not HARDWARE_FITS[plan.hardware_compatibility](plan, here):
            built, came = f"{plan.gpu} ({plan.compute_capability})", f"{here.gpu} ({here.compute_capability})"
            reasons.append(f"built on {built}, here is {came}")
        return reasons

    def refusal(self, trt: Any, runtime: Any, plan: bytes) -> str:
        """It tells when it opens a plan, not before."""
        return ""

    def contexts(self, trt: Any, engine: Any, plan: str, gpu: str, options: SessionOptions) -> Contexts:
        """Plain ones."""
        return Contexts(trt, engine)


HARDWARE_FITS: dict[str, Callable[[Any, Here], bool]] = {
    "none": lambda plan, here: (plan.gpu, plan.compute_capability) == (here.gpu, here.compute_capability),
    "same-compute-capability": lambda plan, here: plan.compute_capability == here.compute_capability,
    "ampere-plus": lambda plan, here: numbers(here.compute_capability) >= (8, 0),
}
"""Whether a plan runs on a machine's GPU, by its hardware compatibility."""


def inspect_plan(trt: Any, plan: bytes, stage: str) -> dict[str, int]:
    """Layers of a plan by the precision of what they give, as the engine inspector tells it.

    Raises:
        ExportError: the plan that was just built cannot be opened.
    """
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = True  # it was built here
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ExportError(f"{stage}: TensorRT cannot open the plan that it has built.{errors_of(logger)}")
    inspector = engine.create_engine_inspector()
    return layers_by_precision(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
