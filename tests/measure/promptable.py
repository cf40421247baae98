"""All promptable models side by side: parameters, operations, seconds and megabytes of encoders and decoders.

    python tests/measure/promptable.py FOLDER [MODEL …] [--rounds 5] [--threads 2] [--backend onnxruntime]
    python tests/measure/promptable.py FOLDER edgetam --parity

FOLDER keeps the bundles, one a model, with seeded random weights; a missing one is exported (minutes for SAM ViT-B).
Models take turns, so that whatever else the machine does falls on all of them: in each round every encoder runs once on
noise, and every decoder once on one point. Seconds are of the wall clock, the median of the rounds with their range.
Below the table stands how many times as long ViT-B's encoder takes as MobileSAM's: the ratio of the medians.

`--parity` holds each model's engines against PyTorch, in each backend, with limits of its own: stages within 1e-4 of
their largest value, masks of all kinds of prompts equal on 99.95 % of the pixels, IoU estimates within 1e-3. The exit
code is 1 if one is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.models.families import build_model
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, load_recipe
from ovdeploy.runtime.backends.base import Session
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.graph.flops import COUNTERS, node_flops
from ovdeploy.runtime.graph.model import load_model
from ovdeploy.runtime.recipe.recipe import ModelChoice
from ovdeploy.runtime.stage.contract import StageContract

ENCODER, DECODER = "sam_encoder", "sam_prompt_decoder"
STAGES = (ENCODER, DECODER)
BACKENDS = ("onnxruntime", "openvino")
MODELS = ("vit_b", "mobile_sam", "efficientvit_sam_l0", "efficientvit_sam_l1", "edgetam", "sam2.1_hiera_tiny")
AGAINST = ("vit_b", "mobile_sam")
"""The encoder that is replaced, and the one that must take a seventh of its time."""
LIMITS = {"relative": 1e-4, "agreement": 0.9995, "iou_gap": 1e-3}
COMMAND = "from ovdeploy.runtime.cli import main; main()"
ONE = {"R": 1, "N": 1}
"""One prompt of one point."""


class Facts(NamedTuple):
    """What is known of a stage without running it."""

    parameters: int
    flops: int
    megabytes: float


def bundle_of(folder: Path, model: str) -> Bundle:
    """A model's bundle, exported if it is missing."""
    path = folder / model
    if not (path / "bundle.json").is_file():
        print(f"exporting {model}", file=sys.stderr)
        recipe = load_recipe("sam-b")
        choice = ModelChoice(model=model, weights="random:3")
        build_bundle(Networks.load(msgspec.structs.replace(recipe, models={"sam": choice})), path)
    return Bundle.load(path)


def facts_of(bundle: Bundle, model: str) -> dict[str, Facts]:
    """By stage. Parameters are those of the model's image encoder, and of all else that images need."""
    sam = build_model("sam", model)
    whole, encoder = (sum(p.numel() for p in module.parameters()) for module in (sam, sam.image_encoder))
    made = {}
    for stage, parameters in zip(STAGES, (encoder, whole - encoder), strict=True):
        entry = bundle.stage(stage)
        files = entry.engines["fp32"].files
        graph = load_model(bundle.path / files[0].path, weights=False)
        flops = node_flops(graph, {spec.name: spec.sized(ONE) for spec in entry.contract.inputs})
        products = sum(flops[node.name] for node in graph.graph.node if node.op_type in COUNTERS)
        made[stage] = Facts(parameters, products, sum(file.bytes for file in files) / 1e6)
    return made


def feeds_of(contract: StageContract) -> dict[str, np.ndarray]:
    """Noise for the encoder; for the decoder one point on noise."""
    noise = np.random.default_rng(0)
    feeds = {spec.name: noise.random(spec.sized(ONE)).astype(spec.dtype) for spec in contract.inputs}
    return feeds | {name: feeds[name] * 255 for name in feeds if name in ("image", "points")}


def rounds_of(sessions: dict[tuple[str, str], Session], rounds: int) -> dict[tuple[str, str], list[float]]:
    """Seconds of every session in every round, all of them in turn; a round before is not counted."""
    feeds = {key: feeds_of(session.contract) for key, session in sessions.items()}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in sessions}
    for number in range(rounds + 1):
        for key, session in sessions.items():
            start = time.perf_counter()
            session.run(feeds[key])
            if number:
                seconds[key].append(time.perf_counter() - start)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return seconds


def told(seconds: list[float]) -> str:
    """A median with the range; nothing where nothing was measured."""
    if not seconds:
        return ""
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def compare(bundles: dict[str, Bundle], given: argparse.Namespace) -> Iterator[str]:
    """The table's rows, and the ratio of the two encoders."""
    options, seconds = SessionOptions(threads=given.threads), {}
    for backend in given.backend if given.rounds else ():
        opened = {
            (model, stage): open_stage(bundle, stage, "fp32", backend, options)
            for model, bundle in bundles.items()
            for stage in STAGES
        }
        seconds[backend] = rounds_of(opened, given.rounds)
        for session in opened.values():
            session.close()
    yield "| model | stage | parameters, M | GFLOPs | MB | " + " | ".join(f"{name}, s" for name in given.backend) + " |"
    yield "| --- " * (5 + len(given.backend)) + "|"
    for model, bundle in bundles.items():
        for stage, facts in facts_of(bundle, model).items():
            times = " | ".join(told(seconds.get(backend, {}).get((model, stage), [])) for backend in given.backend)
            parameters, gflops = facts.parameters / 1e6, facts.flops / 1e9
            yield f"| `{model}` | `{stage}` | {parameters:.1f} | {gflops:.1f} | {facts.megabytes:.1f} | {times} |"
    if set(AGAINST) <= set(bundles):
        for backend in seconds:
            slow, fast = (seconds[backend][model, ENCODER] for model in AGAINST)
            ratio = statistics.median(slow) / statistics.median(fast)
            yield f"{backend}: {AGAINST[0]}'s encoder takes {ratio:.1f} times as long as {AGAINST[1]}'s"


def parity(bundle: Bundle, model: str, backend: str) -> bool:
    """Whether a bundle's engines agree with PyTorch; prints the worst of each kind."""
    command = [sys.executable, "-c", COMMAND, "parity", str(bundle.path), "--backend", backend, "--json"]
    report: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    measures = [check["measures"] for check in report["checks"]]
    worst = {
        name: (min if name == "agreement" else max)(each[name] for each in measures if name in each) for name in LIMITS
    }
    good = worst["agreement"] >= LIMITS["agreement"] and all(worst[n] <= LIMITS[n] for n in ("relative", "iou_gap"))
    print(f"{model}, {backend}: stages {worst['relative']:.1e}, masks {worst['agreement']:.5%}, IoU "
          f"{worst['iou_gap']:.1e}: {'good' if good else 'NOT GOOD'}", flush=True)  # fmt: skip
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", help="; ".join(MODELS) + " by default")
    parser.add_argument("--rounds", type=int, default=5, help="0 measures no seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--parity", action="store_true")
    given = parser.parse_args()
    given.backend = given.backend or list(BACKENDS)
    bundles = {model: bundle_of(given.folder, model) for model in given.models or MODELS}
    if given.parity:
        held = [parity(bundle, model, backend) for model, bundle in bundles.items() for backend in given.backend]
        sys.exit(not all(held))
    for line in compare(bundles, given):
        print(line, flush=True)


if __name__ == "__main__":
    main()
