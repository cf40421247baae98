"""TensorRT-RTX: plans are built ahead of time, on any machine, and compiled to the end where they run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import ExportError, ParameterError
from ..options import SessionOptions
from ..registry import option_of
from .layers import precision_named
from .library import Contexts, Here, Library
from .options import PlanOptions
from .runtime_cache import RuntimeCache
from .targets import CURRENT, TAKES, TARGETS, UNSUPPORTED, USUAL, check_targets, fits, numbers, target_of

GRAPHS, SPECIALIZATION, KEPT = "cuda-graphs", "specialization", "runtime-cache"

"""Options of this backend; their values stand in `BACKENDS`, the default first.

Lazy: a photo of a new shape runs on general kernels while those for its shape are compiled beside it; eager would let
it wait for seconds, and photos have many shapes. Whole-graph: only the library knows when the kernels of a shape are
the final ones, so it captures CUDA graphs better than we could from outside.
"""

STRATEGIES = {"whole-graph": "WHOLE_GRAPH_CAPTURE", "off": "DISABLED"}

INVALID = {
    1: "it was built by another version of TensorRT-RTX",
    2: "it is not for this GPU's compute capability",
    4: "NVIDIA's driver is too old for it",
    8: "the CUDA runtime is too old for it",
    16: "the GPU has too little memory",
    32: "it is malformed",
    64: "CUDA fails here",
}
"""The bits of `EngineInvalidityDiagnostics`, in words."""

FOREIGN = {
    "workspace": None, "optimization_level": 3, "version_compatible": False, "hardware_compatibility": "none",
}  # fmt: skip
"""TensorRT's options that this library has not, with the value that says nothing."""


class TensorRTRTX(Library):
    """TensorRT-RTX 1.7. Its wheels are named by CUDA's major version: we take 13's, which cuda-python is of too."""

    title, backend, module, package = (
        "TensorRT-RTX",
        "tensorrt-rtx",
        "tensorrt_rtx_bindings",
        "tensorrt-rtx-cu13-bindings",
    )
    extra, tag = "tensorrt-rtx", "rtx"
    advice = "smaller --range, another --target or another precision may help"
    anywhere = True

    def builds_here(self, options: PlanOptions, device: int) -> Here:
        """The library alone; a GPU only if the plan is to be for the one that is here."""
        if options.targets == (CURRENT,):
            here = self.here(device)
            if here.compute_capability in UNSUPPORTED:
                raise ExportError(f"{self.title} runs no plans on {here.gpu}. {_instead(here)}")
            return here
        return Here(str(self.load().__version__), "", "", self.backend)

    def check(self, options: PlanOptions, precision: str) -> None:
        """Targets instead of a GPU; the precision must be one that they take."""
        for name, usual in FOREIGN.items():
            if getattr(options, name) != usual:
                option = f"--{name.replace('_', '-')}"
                raise ParameterError(f"{option} is TensorRT's; {self.title} has --target, --range and --tf32")
        check_targets(options.targets, precision)

    def place(self, options: PlanOptions, here: Here) -> str:
        """The targets."""
        if options.targets == (CURRENT,):
            return f"sm{here.compute_capability.replace('.', '')}-{CURRENT}"
        return "-".join(options.targets) or USUAL

    def configure(self, trt: Any, config: Any, options: PlanOptions, timings: bytes) -> None:
        """The targets. (A timing cache would make the builder ask for a GPU, and has no effect.)"""
        names = [target.upper() for target in options.targets if target != USUAL]
        config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)

    def learnt(self, trt: Any, config: Any, network: Any, plan: bytes, stage: str) -> tuple[bytes, dict[str, int]]:
        """The layers of the parsed network: without a GPU no plan can be opened and looked into."""
        return b"", network_layers(network)

    def misfits(self, plan: Any, here: Here) -> list[str]:
        """Another version, or a GPU that is none of the targets."""
        reasons = []
        if plan.tensorrt != here.tensorrt:
            reasons.append(f"built by {self.title} {plan.tensorrt}, here is {here.tensorrt}")
        if not fits(plan.targets, plan.compute_capability, here.compute_capability):
            what = ", ".join(plan.targets) or USUAL
            reasons.append(f"built for {what}, here is {here.gpu} ({here.compute_capability})")
        return reasons

    def remedy(self, here: Here, precision: str, command: str) -> str:
        """Any machine will do, with a target for Turing and for what not all of Ampere and later take."""
        if here.compute_capability in UNSUPPORTED:
            return _instead(here)
        target, command = target_of(here.compute_capability), f"{command} --backend {self.backend}"
        if precision in TAKES[USUAL] and fits((), "", here.compute_capability):
            return f"Build it on any machine with: {command}"
        if precision in TAKES.get(target, ()):
            return f"Build it on any machine with: {command} --target {target}"
        if target not in TARGETS and numbers(here.compute_capability) > (8, 9):
            return f"Build it on this machine with: {command} --target {CURRENT}"
        return f"This GPU ({here.compute_capability}) does not take {precision}; choose another --precision"

    def refusal(self, trt: Any, runtime: Any, plan: bytes) -> str:
        """What the plan's header says about this machine."""
        validity, diagnostics = runtime.get_engine_validity(plan)
        if validity != trt.EngineValidity.INVALID:
            return ""
        return "; ".join(words for bit, words in INVALID.items() if int(diagnostics) & bit)

    def contexts(self, trt: Any, engine: Any, plan: str, gpu: str, options: SessionOptions) -> Contexts:
        """Those of a runtime configuration: strategies, and kernels compiled earlier."""
        return _Configured(trt, engine, RuntimeCache(Path(plan), gpu), options)

    def captures(self, options: SessionOptions) -> bool:
        """Only where the library is told not to capture by itself."""
        return _chosen(options, GRAPHS) == "off"


class _Configured(Contexts):
    """Contexts of one runtime configuration."""

    def __init__(self, trt: Any, engine: Any, kept: RuntimeCache, options: SessionOptions) -> None:
        super().__init__(trt, engine)
        self._kept = kept if _chosen(options, KEPT) == "on" else None
        self._config = config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        config.cuda_graph_strategy = getattr(trt.CudaGraphStrategy, STRATEGIES[_chosen(options, GRAPHS)])
        config.dynamic_shapes_kernel_specialization_strategy = getattr(
            trt.DynamicShapesKernelSpecializationStrategy, _chosen(options, SPECIALIZATION).upper()
        )
        self._cache = config.create_runtime_cache()
        if self._kept is not None and (blob := self._kept.read()):
            self._cache.deserialize(blob)  # of another driver or GPU: refused, and made anew
        config.set_runtime_cache(self._cache)

    def create(self) -> Any:
        return self.engine.create_execution_context(self._config)

    def save(self) -> None:
        kernels = self._cache.serialize() if self._kept is not None else None
        if self._kept is not None and kernels is not None:
            self._kept.write(bytes(kernels))


def _instead(here: Here) -> str:
    """What to do on a GPU that this library does not run on."""
    capability = here.compute_capability
    return (
        f"It does not support compute capability {capability} ({UNSUPPORTED[capability]}): take --backend tensorrt or "
        "onnxruntime-cuda"
    )


def network_layers(network: Any) -> dict[str, int]:
    """Layers of a parsed network by the precision of their first output."""
    found: Counter[str] = Counter()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.num_outputs:
            found[precision_named(str(layer.get_output(0).dtype.name))] += 1
    return dict(found.most_common())


def _chosen(options: SessionOptions, name: str) -> str:
    return option_of("tensorrt-rtx", options.of_backend, name)
