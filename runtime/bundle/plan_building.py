"""Plans built from the graphs of a bundle and kept beside them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import partial

import msgspec

from ..backends.tensorrt.build import build_plan
from ..backends.tensorrt.libraries import LIBRARIES
from ..backends.tensorrt.library import Here, Library
from ..backends.tensorrt.options import PlanOptions
from ..backends.tensorrt.targets import USUAL
from ..errors import BundleError, ExportError, one_of
from ..files import write_bytes
from ..kept.form import Form
from ..reporting import Reporter, silent
from ..stage.precision import LOWERED, STORED_AS
from .bundle import Bundle, FileEntry, PlanEntry, StageEntry, file_entry, write_manifest
from .locks import locked

TIMINGS = Form("tensorrt-timings", 1, most=1 << 30)


def build_plans(
    bundle: Bundle,
    *,
    precision: str = "fp32",
    stages: Sequence[str] | None = None,
    options: PlanOptions | None = None,
    device: int = 0,
    force: bool = False,
    library: str = "tensorrt",
    progress: Reporter = silent,
) -> Bundle:
    """Build the plans of a bundle, and write them and the manifest.

    A plan that is there and was built in the same way is kept. Each is written when it is done, so that an interrupted
    build goes on where it stopped. Plans of other machines stay, unless their graph has changed.

    Args:
        bundle: the bundle, with engines of this precision.
        precision: of the engines that plans are built from; a stage that another precision's engine serves gets a plan
            of that one.
        stages: which; None means all that have such an engine.
        options: how to build.
        device: which GPU to build on and for, if the library needs one.
        force: build again what is there.
        library: a key of `LIBRARIES`: `tensorrt` builds on and for the GPU that is here, `tensorrt-rtx` on any machine
            for the targets that the options name.
        progress: is told what happens to each stage.

    Returns:
        The bundle with its plans.

    Raises:
        BundleError: a stage has no engine in this precision, or its file is damaged.
        ExportError: the library cannot build a stage, or builds it in another precision.
        EngineError: no GPU can be used here, and one is needed.
        MissingExtraError: the library or cuda-python is not installed.
        ParameterError: an option is not the library's, or a target does not take the precision.
        BusyError: another process writes to the bundle.
    """
    with locked(bundle.path, "build-plans"):
        bundle = Bundle.written_here(bundle.path)  # somebody may have written since it was read
        return _build_plans(bundle, precision, stages, LIBRARIES[library], options, device, force, progress)


def _build_plans(
    bundle: Bundle, precision: str, stages: Sequence[str] | None, of: Library, options: PlanOptions | None,
    device: int, force: bool, progress: Reporter,
) -> Bundle:  # fmt: skip
    chosen = options or PlanOptions()
    if chosen.targets == (USUAL,):  # what it is without a word; one plan has one name
        chosen = dataclasses.replace(chosen, targets=())
    wanted_precisions = _stages(bundle, precision, stages)
    for each in dict.fromkeys(wanted_precisions.values()):
        of.check(chosen, each)
    here = of.builds_here(chosen, device)
    building_on = of.gpu(device) if here.gpu else None  # which makes it the thread's, for the builder
    try:
        for stage, held in wanted_precisions.items():
            ranges = bundle.stage(stage).contract.ranges
            given = {axis: size for axis, size in chosen.ranges.items() if axis in ranges}
            wanted = dataclasses.replace(chosen, ranges={**ranges, **given})
            entry = _wanted_entry(bundle, stage, held, here, wanted)
            if not force and _is_there(bundle, stage, entry):
                progress("unchanged", about=stage, share=1.0, lasting=True)
                continue
            bundle = _build(of, bundle, stage, entry, wanted, progress)
    finally:
        if building_on is not None:
            building_on.close()
    return bundle


def _stages(bundle: Bundle, precision: str, stages: Sequence[str] | None) -> dict[str, str]:
    """The stages to build, and the precision of the engine that serves each of them."""
    entries = {name: bundle.stage(name) for name in (stages or bundle.manifest.stages)}
    served = {name: entry.resolved(precision) for name, entry in entries.items()}
    there = {name: held for name, held in served.items() if held in entries[name].engines}
    for stage in stages or ():
        if stage not in there:
            raise BundleError(f"{bundle.path}, stage {stage}: {one_of('precision', precision, entries[stage].engines)}")
    if not there:
        raise BundleError(f"{bundle.path}: {one_of('precision', precision, bundle.precisions())}")
    return there


def _wanted_entry(bundle: Bundle, stage: str, precision: str, here: Here, options: PlanOptions) -> PlanEntry:
    """The manifest's entry of a plan before it is built: all but its hash, its size and its layers."""
    digest = bundle.stage(stage).engines[precision].digest
    return PlanEntry(
        file=FileEntry(path=plan_name(stage, precision, here, digest, options), sha256="", bytes=0),
        precision=precision,
        onnx_sha256=digest,
        library=here.library,
        tensorrt=here.tensorrt,
        gpu=here.gpu,
        compute_capability=here.compute_capability,
        targets=options.targets,
        ranges=dict(options.ranges),
        optimization_level=options.optimization_level,
        tf32=options.tf32,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
    )


def plan_name(stage: str, precision: str, here: Here, digest: str, options: PlanOptions) -> str:
    """A plan's file name: stage, precision, the graph's hash, the library's version, and the GPUs that it is for."""
    library = LIBRARIES[here.library]
    place = library.place(options, here)
    return f"{stage}.{precision}.{digest[:12]}.{library.tag}{here.tensorrt}.{place}.plan"


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


def _build(
    library: Library, bundle: Bundle, stage: str, entry: PlanEntry, options: PlanOptions, progress: Reporter
) -> Bundle:
    contract = bundle.stage(stage).contract
    onnx = bundle.engine_path(stage, entry.precision)
    cache = bundle.path / f"timing.{library.tag}{entry.tensorrt}.sm{entry.compute_capability}.cache"
    timings = bytes(TIMINGS.read(cache, cache.name) or b"")
    progress("building", about=stage, share=0.0)
    begun = time.perf_counter()
    built = build_plan(library, onnx, contract, options, timings, partial(progress, about=stage))
    shown = entry.precision in LOWERED and entry.precision not in STORED_AS  # weights alone are no layer's output
    if shown and not built.layers.get(entry.precision):
        raise ExportError(
            f"{stage}: the plan was to be {entry.precision} and has no layer of it, only "
            f"{told_layers(built.layers)}; it is not kept"
        )
    path = bundle.path / entry.file.path
    write_bytes(path, built.plan)
    if built.timings:
        TIMINGS.write(cache, cache.name, built.timings)
    entry = msgspec.structs.replace(entry, file=file_entry(path), layers=built.layers)
    seconds = time.perf_counter() - begun
    told = f"built in {seconds:.1f} s, {entry.file.bytes / 1e6:.1f} MB, layers {told_layers(built.layers)}"
    progress(told, about=stage, share=1.0, lasting=True)
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
