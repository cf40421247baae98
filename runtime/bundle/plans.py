"""The plans of a bundle: built from its graphs, kept beside them, and chosen for the machine they fit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..backends.options import SessionOptions
from ..backends.tensorrt.build import build_plan
from ..backends.tensorrt.cuda import Cuda
from ..backends.tensorrt.library import Here, import_tensorrt, this_machine
from ..backends.tensorrt.options import PlanOptions
from ..errors import BundleError, ExportError, one_of
from ..files import write_bytes
from ..reporting import Reporter, silent
from ..stage.precision import LOWERED
from .bundle import Bundle, FileEntry, PlanEntry, StageEntry, file_entry, write_manifest


def plan_path(bundle: Bundle, stage: str, precision: str, options: SessionOptions) -> Path:
    """The verified plan of a stage that fits this machine.

    Raises:
        BundleError: there is none; says what differs, and the command that builds it.
        EngineError: no GPU can be used here.
        MissingExtraError: TensorRT or cuda-python is not installed.
    """
    plan = choose_plan(bundle, stage, precision, require_tensorrt(options.device))
    if plan.version_compatible and not options.allow_host_code:
        raise BundleError(
            f"{plan.file.path} is version-compatible, so it brings code that would run on this machine's CPU. "
            f"If you trust where the bundle comes from, allow it: --allow-host-code"
        )
    return bundle.verified(plan.file)


def require_tensorrt(device: int = 0) -> Here:
    """Make sure that plans can be built and run here, before anything slow begins.

    Raises:
        MissingExtraError: TensorRT or cuda-python is not installed.
        EngineError: no GPU can be used here.
    """
    trt, cuda = import_tensorrt(), Cuda(device)
    try:
        return this_machine(trt, cuda)
    finally:
        cuda.close()


def choose_plan(bundle: Bundle, stage: str, precision: str, here: Here) -> PlanEntry:
    """The plan of a stage that fits a machine.

    Raises:
        BundleError: there is none; says what differs, and the command that builds it.
    """
    entry = bundle.stage(stage)
    if precision not in entry.engines:
        raise BundleError(f"{bundle.path}, stage {stage}: {one_of('precision', precision, entry.engines)}")
    candidates = [plan for plan in entry.plans if plan.precision == precision]
    digest = entry.engines[precision].digest
    misfits = [(misfit(plan, here, digest), plan) for plan in candidates]
    for reasons, plan in misfits:
        if not reasons:
            return plan
    again = f"Build it on this machine with: ovdeploy build-plans {bundle.path} --precision {precision}"
    if not misfits:
        raise BundleError(f"{bundle.path} has no TensorRT plan of {stage} in {precision}. {again}")
    reasons, nearest = min(misfits, key=lambda pair: len(pair[0]))
    raise BundleError(f"{nearest.file.path} does not fit this machine: {'; '.join(reasons)}. {again}")


def misfit(plan: PlanEntry, here: Here, digest: str) -> list[str]:
    """Why a plan cannot be run on a machine, in words; nothing if it can."""
    reasons = []
    if plan.onnx_sha256 != digest:
        reasons.append("its graph has been exported again since")
    newer = _numbers(here.tensorrt) >= _numbers(plan.tensorrt)
    if plan.tensorrt != here.tensorrt and not (plan.version_compatible and newer):
        reasons.append(f"built by TensorRT {plan.tensorrt}, here is {here.tensorrt}")
    if not HARDWARE_FITS[plan.hardware_compatibility](plan, here):
        built, came = f"{plan.gpu} ({plan.compute_capability})", f"{here.gpu} ({here.compute_capability})"
        reasons.append(f"built on {built}, here is {came}")
    return reasons


HARDWARE_FITS: dict[str, Callable[[PlanEntry, Here], bool]] = {
    "none": lambda plan, here: (plan.gpu, plan.compute_capability) == (here.gpu, here.compute_capability),
    "same-compute-capability": lambda plan, here: plan.compute_capability == here.compute_capability,
    "ampere-plus": lambda plan, here: _numbers(here.compute_capability) >= (8, 0),
}
"""Whether a plan runs on a machine's GPU, by its hardware compatibility."""


def build_plans(
    bundle: Bundle,
    *,
    precision: str = "fp32",
    stages: Sequence[str] | None = None,
    options: PlanOptions | None = None,
    device: int = 0,
    force: bool = False,
    progress: Reporter = silent,
) -> Bundle:
    """Build the plans of a bundle on this machine, and write them and the manifest.

    A plan that is there and was built in the same way is kept. Each is written when it is done, so that an interrupted
    build goes on where it stopped. Plans of other machines stay, unless their graph has changed.

    Args:
        bundle: the bundle, with engines of this precision.
        precision: of the engines that plans are built from.
        stages: which; None means all that have such an engine.
        options: how to build.
        device: which GPU to build on and for.
        force: build again what is there.
        progress: is told what happens to each stage.

    Returns:
        The bundle with its plans.

    Raises:
        BundleError: a stage has no engine in this precision, or its file is damaged.
        ExportError: TensorRT cannot build a stage, or builds it in another precision.
        EngineError: no GPU can be used here.
        MissingExtraError: TensorRT or cuda-python is not installed.
    """
    trt, cuda = import_tensorrt(), Cuda(device)
    here = this_machine(trt, cuda)
    chosen = options or PlanOptions()
    try:
        for stage in _stages(bundle, precision, stages):
            ranges = bundle.stage(stage).contract.ranges
            given = {axis: size for axis, size in chosen.ranges.items() if axis in ranges}
            wanted = dataclasses.replace(chosen, ranges={**ranges, **given})
            entry = _wanted_entry(bundle, stage, precision, here, wanted)
            if not force and _is_there(bundle, stage, entry):
                progress("unchanged", about=stage, share=1.0, lasting=True)
                continue
            bundle = _build(trt, bundle, stage, entry, wanted, progress)
    finally:
        cuda.close()
    return bundle


def _stages(bundle: Bundle, precision: str, stages: Sequence[str] | None) -> Sequence[str]:
    if stages:
        for stage in stages:
            engines = bundle.stage(stage).engines
            if precision not in engines:
                raise BundleError(f"{bundle.path}, stage {stage}: {one_of('precision', precision, engines)}")
        return stages
    having = [name for name, entry in bundle.manifest.stages.items() if precision in entry.engines]
    if not having:
        raise BundleError(f"{bundle.path}: {one_of('precision', precision, bundle.precisions())}")
    return having


def _wanted_entry(bundle: Bundle, stage: str, precision: str, here: Here, options: PlanOptions) -> PlanEntry:
    """The manifest's entry of a plan before it is built: all but its hash, its size and its layers."""
    digest = bundle.stage(stage).engines[precision].digest
    name = plan_name(stage, precision, here, digest)
    return PlanEntry(
        file=FileEntry(path=name, sha256="", bytes=0),
        precision=precision,
        onnx_sha256=digest,
        tensorrt=here.tensorrt,
        gpu=here.gpu,
        compute_capability=here.compute_capability,
        ranges=dict(options.ranges),
        optimization_level=options.optimization_level,
        tf32=options.tf32,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
    )


def plan_name(stage: str, precision: str, here: Here, digest: str) -> str:
    """A plan's file name: stage, precision, the graph's hash, TensorRT's version, GPU and compute capability."""
    gpu = re.sub(r"[^a-z0-9]+", "-", here.gpu.lower()).strip("-") or "gpu"
    return f"{stage}.{precision}.{digest[:12]}.trt{here.tensorrt}.{gpu}.sm{here.compute_capability}.plan"


def _is_there(bundle: Bundle, stage: str, wanted: PlanEntry) -> bool:
    """Whether the bundle holds such a plan, intact."""
    for plan in bundle.stage(stage).plans:
        if msgspec.structs.replace(plan, file=wanted.file, layers={}) == wanted and plan.file.path == wanted.file.path:
            try:
                bundle.verified(plan.file)
            except BundleError:
                return False
            return True
    return False


def _build(trt: Any, bundle: Bundle, stage: str, entry: PlanEntry, options: PlanOptions, progress: Reporter) -> Bundle:
    contract = bundle.stage(stage).contract
    onnx = bundle.engine_path(stage, entry.precision)
    cache = bundle.path / f"timing.trt{entry.tensorrt}.sm{entry.compute_capability}.cache"
    timings = cache.read_bytes() if cache.is_file() else b""
    progress("building", about=stage, share=0.0)
    built = build_plan(trt, onnx, contract, options, timings, partial(progress, about=stage))
    if entry.precision in LOWERED and not built.layers.get(entry.precision):
        raise ExportError(
            f"{stage}: the plan was to be {entry.precision} and has no layer of it, only "
            f"{told_layers(built.layers)}; it is not kept"
        )
    path = bundle.path / entry.file.path
    write_bytes(path, built.plan)
    write_bytes(cache, built.timings)
    entry = msgspec.structs.replace(entry, file=file_entry(path), layers=built.layers)
    event = f"built, {entry.file.bytes / 1e6:.1f} MB, layers {told_layers(built.layers)}"
    progress(event, about=stage, share=1.0, lasting=True)
    return _with_plan(bundle, stage, entry)


def told_layers(layers: dict[str, int]) -> str:
    """ "120 fp16, 8 fp32"."""
    return ", ".join(f"{count} {precision}" for precision, count in layers.items()) or "unknown"


def _with_plan(bundle: Bundle, stage: str, plan: PlanEntry) -> Bundle:
    """Write a manifest that has the plan, without those that it replaces or whose graph is gone."""
    before = bundle.stage(stage)
    others = tuple(other for other in before.fitting_plans() if other.file.path != plan.file.path)
    stages: dict[str, StageEntry] = {
        **bundle.manifest.stages,
        stage: msgspec.structs.replace(before, plans=(*others, plan)),
    }
    manifest = msgspec.structs.replace(bundle.manifest, stages=stages)
    write_manifest(bundle.path, manifest)
    named = {entry.path for entry in manifest.files()}
    for gone in before.plans:
        if gone.file.path not in named:
            (bundle.path / gone.file.path).unlink(missing_ok=True)
    return Bundle(bundle.path, manifest)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
