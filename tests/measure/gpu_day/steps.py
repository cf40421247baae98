"""The steps of a GPU day, those that are worth most first."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpu_day.machine import environment, free_memory, power
from gpu_day.setting import HOST, RUNS, Setting, networks_of, told
from ovdeploy.runtime.backends.measures import summarize, timed_runs
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.bundle.bundle import Bundle
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.stage.compare import compare
from ovdeploy.runtime.stage.precision import QUANTISED, RESTS


def plan(setting: Setting) -> list[tuple[str, float]]:
    """Steps with the most seconds that each may take, in the order of their worth."""
    full = setting.size == "full"
    backends = (
        ["tensorrt-rtx", "tensorrt", "onnxruntime-cuda"]
        if setting.device == "cuda"
        else ["onnxruntime", "tensorrt-rtx"]
    )
    first, others = backends[0], backends[1:]
    steps = [("environment", 30), ("probe", 30), ("torch:fp32", 90), ("torch:fp16", 60)]
    steps += [("export:fp16", 240 if full else 90), (f"plans:{first}:fp16", 120), (f"engines:{first}:fp16", 90)]
    steps += [(f"photo:{first}:fp16", 120), ("compile:fp16", 180), ("torch:bf16", 60)]
    for precision in ("fp32", "int8w", "bf16", "fp8", "int8"):
        steps += [
            (f"export:{precision}", 120),
            (f"plans:{first}:{precision}", 120),
            (f"engines:{first}:{precision}", 90),
            (f"photo:{first}:{precision}", 90),
        ]
    for backend in others:
        steps += [(f"plans:{backend}:fp16", 180), (f"engines:{backend}:fp16", 90)]
    return [(name, float(limit)) for name, limit in steps]


def probe(setting: Setting) -> dict[str, Any]:
    """Whether TensorRT-RTX runs on this GPU at all: the smallest plans, for Ampere and later and for this GPU."""
    from ovdeploy.runtime.backends.tensorrt.build import build_plan
    from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
    from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
    from ovdeploy.runtime.backends.tensorrt.session import open_rtx_plan
    from ovdeploy.runtime.cli.doctor import IDENTITY, IDENTITY_CONTRACT
    from ovdeploy.runtime.reporting import silent

    found: dict[str, Any] = {}
    folder = Path(setting.work)
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / "identity.onnx"
    graph.write_bytes(IDENTITY)
    for target in ("ampere-plus", "current"):
        try:
            options = PlanOptions(targets=(target,))
            made = build_plan(LIBRARIES["tensorrt-rtx"], graph, IDENTITY_CONTRACT, options, b"", silent)
            path = folder / f"identity.{target}.plan"
            path.write_bytes(made.plan)
            with open_rtx_plan(path, IDENTITY_CONTRACT, SessionOptions()) as session:
                came = session.run({"x": np.ones(1, np.float32)})["y"]
            found[target] = "runs" if came.tolist() == [1.0] else f"gives {came.tolist()}"
        except OvdeployError as error:
            found[target] = f"refused: {error}"[:400]
    return found


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
    """Plans of a bundle, if the backend runs plans."""
    from ovdeploy.runtime.backends.registry import BACKENDS
    from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
    from ovdeploy.runtime.bundle.plan_building import build_plans

    if BACKENDS[backend].engine != "plan":
        return {"plans": "none: it reads graphs"}
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
    from support.devices import usual_feeds

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
                taken, watts = before - free_memory(setting), power(setting, run)
        except OvdeployError as error:
            rows.append({"stage": stage, "refused": str(error)[:400]})
            continue
        expected = reference_outputs(networks, setting, stage, feeds)
        worst = [compare(outputs[spec.name], want) for spec, want in zip(entry.contract.outputs, expected, strict=True)]
        rows.append({
            "stage": stage, "times": told(times), "relative": max(d.relative for d in worst),
            "cosine": min(d.cosine for d in worst), "memory": taken, "power": watts,
        })  # fmt: skip
    refused = all("refused" in row for row in rows)
    return {"refused": rows[0]["refused"], "boundary": HOST} if refused else {"rows": rows, "boundary": HOST}


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
    "torch": eager, "compile": compiled,
}  # fmt: skip


def _bundle(setting: Setting, precision: str) -> Path:
    return setting.bundle.with_name(f"{setting.size}-{precision}") if precision in QUANTISED else setting.bundle
