"""The steps of a GPU day, those that are worth most first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpu_day.machine import environment, free_memory, power
from gpu_day.rungs import RUNGS, rung
from gpu_day.setting import DEVICE, HOST, RUNS, Setting, networks_of, so_far, told
from gpu_day.tracks import RECIPE, track
from ovdeploy.runtime.backends.measures import summarize, timed_runs
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import BACKENDS
from ovdeploy.runtime.bundle.bundle import Bundle
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.cli.doctor import SOFTSIGN, SOFTSIGN_CONTRACT, backend_check
from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.stage.compare import compare
from ovdeploy.runtime.stage.precision import QUANTISED, RESTS

CANDIDATES = {"cuda": ("tensorrt-rtx", "tensorrt", "onnxruntime-cuda"), "cpu": ("onnxruntime", "tensorrt-rtx")}
"""Backends by device, those that are worth most first."""


def beginning(setting: Setting) -> Iterator[tuple[str, float]]:
    """Steps that need no engine, with the most seconds that each may take."""
    yield from {"environment": 40, "probe": 60, "torch:fp32": 120, "torch:fp16": 60}.items()
    yield "export:fp32", 240 if setting.size == "full" else 90
    yield "export:fp16", 120  # from the graphs that are there


def measuring(backends: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The other steps, in the order of their worth: the first backend that runs here, then what it leaves room for."""
    first = next(iter(backends), None)
    if first:
        yield from _stages_and_photo(first, "fp16")
        yield from ((f"rung:{recipe}:{first}", 150.0) for recipe in RUNGS)
        yield f"track:{RECIPE}:{first}", 150
        if BACKENDS[first].options:
            yield f"options:{first}:fp16", 120
    yield "compile:fp16", 180
    yield "torch:bf16", 60
    for precision in ("fp32", "int8w", "bf16", "int8", "fp8") if first else ():
        if precision != "fp32":
            yield f"export:{precision}", 120
        yield from _stages_and_photo(first, precision)
    for backend in backends[1:]:
        yield from _stages_and_photo(backend, "fp16")


def _stages_and_photo(backend: str, precision: str) -> Iterator[tuple[str, float]]:
    if BACKENDS[backend].engine == "plan":
        yield f"plans:{backend}:{precision}", 120
    yield f"engines:{backend}:{precision}", 90
    yield f"photo:{backend}:{precision}", 90


def probe(setting: Setting) -> dict[str, Any]:
    """Which backends run here at all, on the smallest graph there is, and why the others do not."""
    Path(setting.work).mkdir(parents=True, exist_ok=True)
    told = {backend: _tried(setting, backend) for backend in CANDIDATES[setting.device]}
    return {**told, "backends": [backend for backend, how in told.items() if how.startswith("runs")]}


def _tried(setting: Setting, backend: str) -> str:
    if backend == "tensorrt-rtx":
        told = {target: _tried_plan(setting, target) for target in ("ampere-plus", "current")}
        ran = [target for target, how in told.items() if how == "runs"]
        return f"runs ({', '.join(ran)})" if ran else "; ".join(f"{target}: {how}" for target, how in told.items())
    check = backend_check(backend)
    return f"runs: {check.state}" if check.works else check.state


def _tried_plan(setting: Setting, target: str) -> str:
    """The smallest plan of TensorRT-RTX, built for a target."""
    from ovdeploy.runtime.backends.tensorrt.build import build_plan
    from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
    from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
    from ovdeploy.runtime.backends.tensorrt.session import open_rtx_plan
    from ovdeploy.runtime.reporting import silent

    graph = Path(setting.work) / "softsign.onnx"
    graph.write_bytes(SOFTSIGN)
    try:
        made = build_plan(
            LIBRARIES["tensorrt-rtx"], graph, SOFTSIGN_CONTRACT, PlanOptions(targets=(target,)), b"", silent
        )
        path = Path(setting.work) / f"softsign.{target}.plan"
        path.write_bytes(made.plan)
        with open_rtx_plan(path, SOFTSIGN_CONTRACT, SessionOptions()) as session:
            came = session.run({"x": np.ones(1, np.float32)})["y"]
    except OvdeployError as error:
        return f"refused: {error}"[:400]
    return "runs" if came.tolist() == [0.5] else f"gives {came.tolist()}"


def export(setting: Setting, precision: str) -> dict[str, Any]:
    """The bundle in a precision, from seeds; INT8 and FP8 are calibrated on drawn scenes."""
    from ovdeploy.export.bundling.build import build_bundle
    from ovdeploy.export.bundling.half import HalfConversion

    if precision in QUANTISED:
        return export_quantised(setting, precision)
    networks = networks_of(setting)
    conversion = None if precision == "fp32" else HalfConversion(networks, precision)
    build_bundle(networks, setting.bundle, conversion=conversion)
    engines = Bundle.load(setting.bundle).manifest.stages
    return {
        "stages": {
            stage: sum(file.bytes for file in entry.engines[precision].files) for stage, entry in engines.items()
        }
    }


def export_quantised(setting: Setting, precision: str) -> dict[str, Any]:
    """By `ovdeploy calibrate` on drawn scenes, whole stages at once, so that it takes no longer than it must."""
    from PIL import Image

    from ovdeploy.calib.int8.calibrate import Request, calibrate
    from ovdeploy.runtime.recipe.int8 import Int8Settings
    from ovdeploy.runtime.reporting import silent
    from ovdeploy.runtime.scenes import draw_scene

    folder = Path(setting.work) / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(3):
        Image.fromarray(draw_scene(2_000_000 + seed).photo).save(folder / f"{seed}.png")
    photos = sorted(folder.glob("*.png"))
    bundle = Bundle.load(setting.bundle)
    settings = Int8Settings(ranges=("minmax",), smoothing=(0.0,), search="stage", photos=2, gate_photos=1, labels=0.0)
    output = _bundle(setting, precision)
    report = output.with_name(f"{output.name}-report")
    request = Request(
        bundle=bundle, images=photos[:2], gate_images=photos[2:], output=output, report=report,
        settings=settings, backends=("emulated",), precision=precision, rest=RESTS[precision], keep_anyway=True,
    )  # fmt: skip
    outcome = calibrate(request, silent)
    return {"labels": outcome.calibration.gate.labels, "bundle": output.name}


def plans(setting: Setting, backend: str, precision: str) -> dict[str, Any]:
    """Plans of a bundle."""
    from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
    from ovdeploy.runtime.bundle.plan_building import build_plans

    rtx, built = backend == "tensorrt-rtx", {}
    refused: dict[str, str] = {}
    for targets in (
        ((), ("current",)) if rtx and setting.device == "cuda" else ((("sm89",) if precision == "fp8" else ()),)
    ):
        start = time.perf_counter()
        try:
            bundle = Bundle.load(_bundle(setting, precision))
            build_plans(bundle, precision=precision, library=backend, options=PlanOptions(targets=targets))
            built[", ".join(targets) or "usual"] = f"{time.perf_counter() - start:.1f} s"
        except OvdeployError as error:
            refused[", ".join(targets) or "usual"] = str(error)[:400]
    return {"built": built, "not built": refused} if built else {"refused": refused}


def engines(setting: Setting, backend: str, precision: str) -> dict[str, Any]:
    """Every stage on a backend: latency, memory, power, and how far it is from PyTorch in FP32 on the same device."""
    from gpu_day.eager import reference_outputs
    from support.devices import resident_run, usual_feeds

    bundle, networks = Bundle.load(_bundle(setting, precision)), networks_of(setting)
    rows = []
    for stage, entry in bundle.manifest.stages.items():
        feeds = usual_feeds(entry.contract)
        try:
            before = free_memory(setting)
            with open_stage(bundle, stage, precision, backend) as session:
                outputs = session.run(feeds)
                session.tune()
                run = partial(session.run, feeds)
                times = summarize(timed_runs(run, RUNS[setting.size]), HOST, stage)
                resident = summarize(timed_runs(resident_run(session, feeds), RUNS[setting.size]), DEVICE, stage)
                taken, watts = before - free_memory(setting), power(setting, run)
        except OvdeployError as error:
            rows.append({"stage": stage, "refused": str(error)[:400]})
            continue
        expected = reference_outputs(networks, setting, stage, feeds)
        worst = [compare(outputs[spec.name], want) for spec, want in zip(entry.contract.outputs, expected, strict=True)]
        rows.append({
            "stage": stage, "times": told(times), "resident": told(resident), "memory": taken, "power": watts,
            "relative": max(d.relative for d in worst), "cosine": min(d.cosine for d in worst),
        })  # fmt: skip
        so_far(rows, HOST)
    refused = all("refused" in row for row in rows)
    return {"refused": rows[0]["refused"], "boundary": HOST} if refused else {"rows": rows, "boundary": HOST}


def options(setting: Setting, backend: str, precision: str) -> dict[str, Any]:
    """What the backend's own options change: every option's every value, the others as they are by default."""
    from support.devices import usual_feeds

    bundle = Bundle.load(_bundle(setting, precision))
    offered = BACKENDS[backend].options
    ways: list[dict[str, str]] = [{}] + [{name: value} for name, values in offered.items() for value in values[1:]]
    rows = []
    for stage in ("clip_image", "sam_decoder"):
        feeds = usual_feeds(bundle.manifest.stages[stage].contract)
        for way in ways:
            told_way = ", ".join(f"{name}={value}" for name, value in way.items()) or "defaults"
            try:
                start = time.perf_counter()
                with open_stage(bundle, stage, precision, backend, SessionOptions(of_backend=way)) as session:
                    opened = time.perf_counter()
                    session.run(feeds)
                    first = time.perf_counter()
                    times = summarize(timed_runs(partial(session.run, feeds), RUNS[setting.size]), HOST, stage)
            except OvdeployError as error:
                rows.append({"stage": f"{stage}, {told_way}", "refused": str(error)[:400]})
                continue
            waits = f"opened in {opened - start:.2f} s, first run {first - opened:.2f} s"
            rows.append({"stage": f"{stage}, {told_way}: {waits}", "times": told(times)})
            so_far(rows, HOST)
    return {"rows": rows, "boundary": HOST}


def photo(setting: Setting, backend: str, precision: str) -> dict[str, Any]:
    """Parity of stages and masks on the package's photo, as `ovdeploy parity` has it, and a photo's latency."""
    from ovdeploy.export.parity.check import check_parity
    from ovdeploy.runtime.photo.reading import demo_photo, load_photo
    from ovdeploy.runtime.pipelines.base import Segmenter
    from ovdeploy.runtime.words.vocabulary import Vocabulary

    bundle = Bundle.load(_bundle(setting, precision))
    checks = list(check_parity(bundle, networks_of(setting), demo_photo(), backend=backend, precision=precision))
    rng = np.random.default_rng(0)
    words = Vocabulary(["a", "b", "c"], rng.standard_normal((3, bundle.manifest.dimensions.embedding)))
    image = load_photo(demo_photo())
    with Segmenter.load(bundle.path, backend=backend, precision=precision) as segmenter:
        segmenter.segment(image, words)
        segmenter.warmup()
        times = summarize(timed_runs(lambda: segmenter.segment(image, words), RUNS[setting.size] // 5), HOST, "photo")
    lines = [
        f"{check.stage} {check.what}: {check.measures} ({check.limit}){'' if check.passed else ' FAILED'}"
        for check in checks
    ]
    rows = [{"stage": "photo", "times": told(times)}]
    return {"rows": rows, "checks": lines, "passed": sum(check.passed for check in checks)}


def eager(setting: Setting, precision: str) -> dict[str, Any]:
    """PyTorch's own modules on the device."""
    from gpu_day.eager import eager as run

    return run(setting, precision)


def compiled(setting: Setting, precision: str) -> dict[str, Any]:
    """The same by `torch.compile`, the compilation not counted."""
    from gpu_day.eager import eager as run

    return run(setting, precision, compiled=True)


RUN: dict[str, Callable[..., dict[str, Any]]] = {
    "environment": environment, "probe": probe, "export": export, "plans": plans, "engines": engines, "photo": photo,
    "options": options, "rung": rung, "track": track, "torch": eager, "compile": compiled,
}  # fmt: skip


def _bundle(setting: Setting, precision: str) -> Path:
    return setting.bundle.with_name(f"{setting.size}-{precision}") if precision in QUANTISED else setting.bundle
