"""The steps of a GPU day, those that are worth most first."""

from __future__ import annotations

import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ovdeploy.runtime.backends.measures import example_feeds, summarize, timed_runs
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.bundle.bundle import Bundle
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.stage.compare import compare
from ovdeploy.runtime.stage.precision import QUANTISED, RESTS

SEEDS = {"clip": "random:1", "dino": "random:2", "sam": "random:3"}
RECIPES = {"micro": "micro", "full": "trident-b16"}
RUNS = {"micro": 20, "full": 50}
PACKAGES = (
    *("ovdeploy", "numpy", "torch", "triton", "timm", "open_clip_torch", "segment-anything", "onnx", "onnxruntime"),
    *("onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13-libs", "cuda-bindings", "transformers"),
)
HOST = "from arrays on the host to arrays on the host, copies and one synchronisation included"
DEVICE = "from tensors on the GPU to tensors on the GPU, synchronised at both ends"


class Setting(NamedTuple):
    """What a day is about."""

    work: str
    device: str
    size: str

    @property
    def bundle(self) -> Path:
        return Path(self.work) / self.size


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


def environment(setting: Setting) -> dict[str, Any]:
    """The machine and what is installed."""
    found = {
        "python": platform.python_version(),
        "cpu": _cpu(),
        "card": _smi("name,driver_version,memory.total,compute_cap"),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if setting.device == "cuda":
        import torch

        found["torch sees"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
        found["cuda of torch"] = str(torch.version.cuda)
    return found


def probe(setting: Setting) -> dict[str, Any]:
    """Whether TensorRT-RTX runs on this GPU at all: the smallest plans, for Ampere and later and for this GPU."""
    from ovdeploy.runtime.backends.tensorrt.build import build_plan
    from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
    from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
    from ovdeploy.runtime.backends.tensorrt.session import open_rtx_plan
    from ovdeploy.runtime.cli.doctor import IDENTITY, IDENTITY_CONTRACT
    from ovdeploy.runtime.reporting import silent

    told: dict[str, Any] = {}
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
            told[target] = "runs" if came.tolist() == [1.0] else f"gives {came.tolist()}"
        except OvdeployError as error:
            told[target] = f"refused: {error}"[:400]
    return told


def export(setting: Setting, precision: str) -> dict[str, Any]:
    """The bundle in a precision, from seeds; INT8 and FP8 are calibrated on drawn scenes."""
    from ovdeploy.export.bundling.build import build_bundle
    from ovdeploy.export.bundling.half import HalfConversion

    if precision in QUANTISED:
        return export_quantised(setting, precision)
    networks = _networks(setting)
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
    bundle, networks = Bundle.load(_bundle(setting, precision)), _networks(setting)
    rows = []
    for stage, entry in bundle.manifest.stages.items():
        feeds = _feeds(bundle, stage)
        try:
            with _memory(setting) as used, open_stage(bundle, stage, precision, backend) as session:
                outputs = session.run(feeds)
                session.tune()
                run = partial(session.run, feeds)
                times = summarize(timed_runs(run, RUNS[setting.size]), HOST, stage)
                watts = _power(setting, run)
        except OvdeployError as error:
            rows.append({"stage": stage, "refused": str(error)[:400]})
            continue
        expected = torch_outputs(networks, setting, stage, feeds, "fp32")
        worst = [compare(outputs[spec.name], want) for spec, want in zip(entry.contract.outputs, expected, strict=True)]
        rows.append({
            "stage": stage, "times": _told(times), "relative": max(d.relative for d in worst),
            "cosine": min(d.cosine for d in worst), "memory": used[0], "power": watts,
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
    checks = list(check_parity(bundle, _networks(setting), demo_photo(), backend=backend, precision=precision))
    rng = np.random.default_rng(0)
    words = Vocabulary(["a", "b", "c"], rng.standard_normal((3, bundle.manifest.dimensions.embedding)))
    image = load_photo(demo_photo())
    with Segmenter.load(bundle.path, backend=backend, precision=precision) as segmenter:
        segmenter.segment(image, words)
        segmenter.warmup()
        times = summarize(timed_runs(lambda: segmenter.segment(image, words), RUNS[setting.size] // 5), HOST, "photo")
    told = [
        f"{check.stage} {check.what}: {check.measures} ({check.limit}){'' if check.passed else ' FAILED'}"
        for check in checks
    ]
    rows = [{"stage": "photo", "times": _told(times)}]
    return {"rows": rows, "checks": told, "passed": sum(check.passed for check in checks)}


def torch(setting: Setting, precision: str, compiled: bool = False) -> dict[str, Any]:
    """PyTorch's own modules on the device, eager or compiled."""
    import torch as t

    bundle_contracts, networks = _contracts(setting), _networks(setting)
    rows = []
    for stage, contract in bundle_contracts.items():
        feeds = example_feeds(contract, {name: axis.usual for name, axis in contract.axes.items()})
        try:
            with _memory(setting) as used:
                run = torch_run(networks, setting, stage, feeds, precision, compiled)
                run()
                times = summarize(timed_runs(run, RUNS[setting.size]), DEVICE, stage)
                watts = _power(setting, run)
        except Exception as error:  # a compiler may raise anything; the report says what
            rows.append({"stage": stage, "refused": f"{type(error).__name__}: {error}"[:300]})
            continue
        rows.append({"stage": stage, "times": _told(times), "memory": used[0], "power": watts})
        del run
        if setting.device == "cuda":
            t.cuda.empty_cache()
    return {"rows": rows, "boundary": DEVICE}


def compile_(setting: Setting, precision: str) -> dict[str, Any]:
    """The same by `torch.compile`, the compilation not counted."""
    return torch(setting, precision, compiled=True)


RUN: dict[str, Callable[..., dict[str, Any]]] = {
    "environment": environment, "probe": probe, "export": export, "plans": plans, "engines": engines, "photo": photo,
    "torch": torch, "compile": compile_,
}  # fmt: skip


def torch_run(
    networks: Any, setting: Setting, stage: str, feeds: Any, precision: str, compiled: bool
) -> Callable[[], Any]:
    """A function that runs a stage's module once, synchronised at the end."""
    import torch as t

    dtype = {"fp32": t.float32, "fp16": t.float16, "bf16": t.bfloat16}[precision]
    t.backends.cuda.matmul.allow_tf32 = t.backends.cudnn.allow_tf32 = False
    module = networks.modules[stage].to(device=setting.device, dtype=dtype)
    module = t.compile(module) if compiled else module
    tensors = [t.from_numpy(np.array(array)).to(setting.device) for array in feeds.values()]
    tensors = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]

    def run() -> Any:
        with t.no_grad():
            outputs = module(*tensors)
        if setting.device == "cuda":
            t.cuda.synchronize()
        return outputs

    return run


def torch_outputs(networks: Any, setting: Setting, stage: str, feeds: Any, precision: str) -> list[np.ndarray]:
    """A stage's outputs by PyTorch, on the host."""
    outputs = torch_run(networks, setting, stage, feeds, precision, False)()
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [output.float().cpu().numpy() for output in outputs]


def _networks(setting: Setting) -> Any:
    from ovdeploy.export.reference.networks import Networks
    from ovdeploy.runtime import load_recipe

    return Networks.load(load_recipe(RECIPES[setting.size]), SEEDS if setting.size == "full" else {})


def _contracts(setting: Setting) -> dict[str, Any]:
    networks = _networks(setting)
    return {stage: networks.contract(stage) for stage in networks.recipe.stages}


def _bundle(setting: Setting, precision: str) -> Path:
    return setting.bundle.with_name(f"{setting.size}-{precision}") if precision in QUANTISED else setting.bundle


def _feeds(bundle: Bundle, stage: str) -> dict[str, np.ndarray]:
    contract = bundle.stage(stage).contract
    return example_feeds(contract, {name: axis.usual for name, axis in contract.axes.items()})


def _told(times: Any) -> dict[str, float]:
    return {key: getattr(times, key) for key in ("p50", "p90", "p99", "mean", "min", "max")} | {"runs": times.runs}


@contextmanager
def _memory(setting: Setting) -> Iterator[list[float]]:
    """MB of the GPU that are taken at the end and were not at the beginning; 0 on a CPU."""
    used = [0.0]
    if setting.device != "cuda":
        yield used
        return
    import torch as t

    before = t.cuda.mem_get_info()[0]
    yield used
    used[0] = max(0.0, (before - t.cuda.mem_get_info()[0]) / 1e6)


def _power(setting: Setting, run: Callable[[], Any], seconds: float = 1.0) -> float:
    """Mean watts that the card draws while something runs, as nvidia-smi tells; 0 where it tells nothing.

    The runs are other ones than those that are timed: asking costs time.
    """
    if setting.device != "cuda":
        return 0.0
    stop, samples = threading.Event(), []

    def sample() -> None:
        while not stop.wait(0.1):
            value = _smi("power.draw")
            if value.replace(".", "").isdigit():
                samples.append(float(value))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            run()
    finally:
        stop.set()
        thread.join(5)
    return float(np.mean(samples)) if samples else 0.0


def _smi(query: str) -> str:
    if not shutil.which("nvidia-smi"):
        return "no nvidia-smi"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.stdout.strip() or done.stderr.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
        )
    except OSError:
        return platform.machine()
