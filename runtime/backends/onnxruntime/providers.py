"""ONNX Runtime's execution providers: what is asked of them, and the proof that they took the work."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import EngineError
from ...files import cache_root
from ...kept.folder import KeptFolder
from ...kept.form import Form
from ...stage.contract import StageContract, TensorSpec
from ..base import HOST
from ..options import SessionOptions

HEAVY = frozenset(
    (
        *("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Einsum", "Attention", "MultiHeadAttention"),
        *("Conv", "FusedConv", "ConvTranspose", "Resize"),
        *("LayerNormalization", "SkipLayerNormalization", "Softmax", "Erf", "Gelu", "BiasGelu"),
    )
)
"""Operators that must not be left to the CPU. (ONNX Runtime puts computations of shapes there on purpose.)"""

RECORD = "session.record_ep_graph_assignment_info"
"""The session option that lets ONNX Runtime tell, from version 1.23 on, which provider took which node."""

SUMS = Form("onnxruntime-tensorrt", 1, most=1 << 20)


class Provider(NamedTuple):
    """One execution provider."""

    name: str
    kind: str
    """ONNX Runtime's name of the device: "cpu" or "cuda"."""
    resident: bool = True
    """Whether arrays stay on the device between stages."""
    refuses: Mapping[str, str] = {}
    """Precisions that it cannot be trusted with, and why."""
    keeps: bool = False
    """Whether it compiles, and reads again what it compiled."""

    def folder(self, options: SessionOptions, contract: StageContract) -> KeptFolder | None:
        """The folder for what it compiles of a graph; None if it keeps nothing, or nobody knows which graph it is."""
        if not self.keeps or not options.identity:
            return None
        what = [options.identity, options.precision, profile_shapes(contract.inputs, options)]
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        return KeptFolder(SUMS, cache_root() / "onnxruntime-tensorrt" / key, key)

    def request(
        self, options: SessionOptions, contract: StageContract, folder: Path | None = None
    ) -> list[str | tuple[str, dict[str, str]]]:
        """The providers to ask for, in order, with their options; `folder` is for what they compile."""
        wanted = {
            "TensorrtExecutionProvider": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
            "CUDAExecutionProvider": ["CUDAExecutionProvider"],
        }.get(self.name, [])
        settings = {"TensorrtExecutionProvider": _tensorrt_options, "CUDAExecutionProvider": _cuda_options}
        return [*((name, settings[name](options, contract, folder)) for name in wanted), "CPUExecutionProvider"]


CPU = Provider("CPUExecutionProvider", "cpu", resident=False)
CUDA = Provider("CUDAExecutionProvider", "cuda")
WEAK = (
    "its networks are weakly typed, so that islands of FP32 need not stay; use the backend tensorrt or onnxruntime-cuda"
)
TENSORRT = Provider("TensorrtExecutionProvider", "cuda", refuses={"fp16": WEAK, "bf16": WEAK}, keeps=True)


def check_providers(ort: Any, provider: Provider, options: SessionOptions) -> None:
    """Refuse a provider that this onnxruntime does not have, before it falls back in silence.

    Raises:
        EngineError: says which package has it.
    """
    available = ort.get_available_providers()
    if provider.kind != "cpu" and provider.name in available and hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # some versions print warnings, amid the JSON of a command
            ort.preload_dlls()
    if options.precision in provider.refuses:
        raise EngineError(f"{provider.name} does not take {options.precision}: {provider.refuses[options.precision]}")
    if provider.name not in available and not options.allow_fallback:
        raise EngineError(
            f"this onnxruntime has no {provider.name}, only {', '.join(available)}. Install the GPU package instead of "
            f"the CPU one: pip uninstall onnxruntime && pip install 'ovdeploy[gpu]'; or allow the fall-back to the CPU"
        )


def check_assignment(session: Any, stage: str, provider: Provider, options: SessionOptions) -> str:
    """Where the session really computes.

    Returns:
        The provider's device, or "cpu" after a fall-back that was allowed.

    Raises:
        EngineError: the provider did not start, or it left heavy operators to the CPU, and that was not allowed.
    """
    came = session.get_providers()
    if came[0] != provider.name:
        if options.allow_fallback:
            return HOST
        raise EngineError(
            f"{stage}: {provider.name} did not start, ONNX Runtime fell back to {came[0]}. Look for its message above "
            f"(a missing CUDA or cuDNN library, a driver that is too old); or allow the fall-back to the CPU"
        )
    if provider.kind == "cpu" or options.allow_fallback:
        return provider.kind
    session.disable_fallback()  # else a failed run is repeated on the CPU, silently and for good
    if left := sorted(_heavy_on_cpu(session)):
        raise EngineError(
            f"{stage}: {provider.name} leaves {len(left)} heavy operators to the CPU: {', '.join(left[:8])}. "
            f"Try a newer onnxruntime-gpu, or allow the fall-back to the CPU"
        )
    return provider.kind


def profile_shapes(specs: Iterable[TensorSpec], options: SessionOptions) -> dict[str, str]:
    """Profiles of the dynamic inputs as trtexec and the provider write them, `name:1x3x336x336,…`, by min, opt, max."""
    dynamic = [spec for spec in specs if any(dim in options.ranges for dim in spec.shape)]
    told = {}
    for index, which in enumerate(("min", "opt", "max")):
        sizes = {dim: sized[index] for dim, sized in options.ranges.items()}
        told[which] = ",".join(f"{spec.name}:{'x'.join(map(str, spec.sized(sizes)))}" for spec in dynamic)
    return told


def _heavy_on_cpu(session: Any) -> list[str]:
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    graphs = [graph for graph in session.get_provider_graph_assignment_info() if graph.ep_name == CPU.name]
    nodes = [node for graph in graphs for node in graph.get_nodes()]
    return [f"{node.op_type} {node.name}" for node in nodes if node.op_type in HEAVY]


def _cuda_options(options: SessionOptions, contract: StageContract, folder: Path | None) -> dict[str, str]:
    return {"device_id": str(options.device), "use_tf32": "0"}  # TF32 keeps 10 bits: no parity with FP32


def _tensorrt_options(options: SessionOptions, contract: StageContract, folder: Path | None) -> dict[str, str]:
    """Engines are cached on disk, and built for the recipe's sizes at once: no rebuild in the middle of a run."""
    profiles = profile_shapes(contract.inputs, options)
    kept = {f"trt_{what}_cache_{key}": value for what in ("engine", "timing")
            for key, value in (("enable", "1"), ("path", str(folder)))}  # fmt: skip
    return {
        "device_id": str(options.device),
        **(kept if folder else {}),
        **{f"trt_profile_{which}_shapes": told for which, told in profiles.items() if told},
    }
