"""What true weights do to eight bits: a DINOv2 ViT-S/14, calibrated on scikit-image's photos, judged by others.

    python tests/measure/real_weights.py WORK [--precision int8] [--search product] [--smoothing 0,0.5]

WORK gets the bundle and every measurement, so that what was stopped goes on. Prints the largest activation of every
block, before and after balancing; errors by method; what the search chooses; the error as products go back to float,
by its order and by the exhaustive one; and the engine's error on this machine. Errors are relative, of the features of
photos that were not calibrated on, one window of 224 pixels each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import msgspec
import numpy as np
import skimage.data

sys.path.insert(0, str(Path(__file__).parent.parent))

from ovdeploy.calib.int8.ranges import METHODS
from ovdeploy.calib.int8.search import StageSearch
from ovdeploy.calib.int8.stage import Choice, Work
from ovdeploy.calib.int8.steps import Steps
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.graph.emulate import model_session
from ovdeploy.runtime.graph.model import save_model
from ovdeploy.runtime.graph.observe import Observer
from ovdeploy.runtime.graph.probe import Probe
from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.stage.precision import FP32
from support.real import real_model, real_networks, real_tensors, real_wheel, write_real

SIDE = 224
CALIBRATION = (
    "astronaut.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "retina.jpg", "ihc.png", "brick.png",
    "coins.png", "hubble_deep_field.jpg", "grass.png", "page.png", "moon.png",
)  # fmt: skip
"""Photos of scikit-image's wheel; every third is what the search measures on."""

HELD_OUT = ("coffee.png", "chelsea.png", "motorcycle_right.png", "gravel.png")
"""Photos to judge by. The motorcycle's is the second of a stereo pair whose first is above."""

KINDS = ("attention", "projection", "fc1", "fc2")
"""A block's products, in order; the first makes queries, keys and values."""

Feeds = dict[str, np.ndarray]
Outputs = Sequence[Mapping[str, np.ndarray]]


class Photos:
    """Feeds of the stage, in place of a pipeline's."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def of(self, contract: object) -> list[Callable[[], Feeds]]:
        return [partial(window, name) for name in self.names]


def window(name: str) -> Feeds:
    """The middle of a photo, its short side 224 pixels."""
    pixels = cv2.imread(str(Path(skimage.data.__file__).parent / name))[:, :, ::-1]
    scale = SIDE / min(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (small.shape[0] - SIDE) // 2, (small.shape[1] - SIDE) // 2
    square = small[top : top + SIDE, left : left + SIDE]
    return {"windows": np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32) / 255}


def bundle_in(work: Path) -> Bundle:
    path = work / "bundle"
    if not (path / "bundle.json").is_file():
        weights = write_real(real_tensors(real_model(real_wheel())), work / "dinov2.safetensors")
        build_bundle(real_networks(weights), path)
    return Bundle.load(path)


class Judge:
    """Errors on the photos that were kept apart."""

    def __init__(self, work: Work) -> None:
        self.work, self.feeds = work, [window(name) for name in HELD_OUT]
        with model_session(work.graph(), work.contract) as session:
            self.expected = [session.run_unchecked(feeds) for feeds in self.feeds]

    def error(self, outputs: Outputs) -> float:
        pairs = zip(outputs, self.expected, strict=True)
        apart = [np.linalg.norm(o["features"] - e["features"]) / np.linalg.norm(e["features"]) for o, e in pairs]
        return float(np.mean(apart))

    def probe(self, choice: Choice, bits: int) -> Callable[..., float]:
        """A function of the products that are quantised, with the error that they make."""
        work = self.work
        probe = Probe(
            work.balanced(choice.strengths).model, work.contract, work.products, work.format, weight_bits=bits
        )
        return lambda on, limits=choice.limits: self.error([probe.run(feeds, limits, on) for feeds in self.feeds])

    def engine(self, choice: Choice, backend: str) -> float:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "quantised.onnx"
            save_model(self.work.quantised(choice), path)
            options = SessionOptions(precision=self.work.precision, threads=1)
            with open_session(path, self.work.contract, backend, options=options) as session:
                return self.error([session.run_unchecked(feeds) for feeds in self.feeds])


def print_activations(work: Work) -> None:
    """The largest magnitudes that the calibration photos have, by block."""
    norms = [node for node in work.graph().graph.node if node.op_type == "LayerNormalization"]
    streams = list(dict.fromkeys(node.input[0] for node in norms))
    largest = np.zeros(len(streams))
    with Observer(work.graph(), work.contract, streams) as observer:
        for read in work.readers:
            seen = observer.observe(read())
            largest = np.maximum(largest, [seen[name].largest.max() for name in streams])
    print("\n| block | residual stream | " + " | ".join(KINDS) + " |")
    shown = {strength: work.balanced(dict.fromkeys(work.sites, strength)).seen for strength in (0.0, 0.5, 0.8)}
    for block in range(len(work.all) // len(KINDS)):
        cells = []
        for product in work.all[block * len(KINDS) : (block + 1) * len(KINDS)]:
            cells.append(" → ".join(f"{seen[product.value].largest.max():.1f}" for seen in shown.values()))
        print(f"| {block} | {largest[2 * block]:.1f} | " + " | ".join(cells) + " |")
    print("each: as it is → balanced by α 0.5 → by 0.8; the residual stream is what enters the block")


def print_methods(search: StageSearch, judge: Judge, smoothing: Sequence[float]) -> None:
    """Errors with all products in eight bits, by method and balancing."""
    usual = search._whole()
    print("\n| ranges | " + " | ".join(f"α {strength:g}" for strength in smoothing) + " |")
    rows: dict[str, list[float]] = {method: [] for method in METHODS if method in search.methods}
    for strength in smoothing:
        strengths = dict.fromkeys(search.work.sites, strength)
        error = judge.probe(msgspec.structs.replace(usual, strengths=strengths), 8)
        for method, row in rows.items():
            row.append(error(search.every, search._limits_of((strength, method))))
    for method, row in rows.items():
        print(f"| {method} | " + " | ".join(f"{error:.4f}" for error in row) + " |", flush=True)


def print_curve(search: StageSearch, judge: Judge, choice: Choice) -> None:
    """The error as products go back to float, in the search's order and in that of what each gains, one at a time."""
    names = {product.node: f"{index // 4}.{KINDS[index % 4]}" for index, product in enumerate(search.work.all)}
    every, error = search.every, judge.probe(choice, choice.weight_bits)
    whole = error(every)
    gains = {node: whole - error([other for other in every if other != node]) for node in every}
    orders = {
        "the search's": sorted(every, key=lambda node: -choice.errors[node]),
        "exhaustive": sorted(every, key=lambda node: -gains[node]),
    }
    for name, order in orders.items():
        print(f"\n{name} order: " + ", ".join(names[node] for node in order[:12]))
    kept = len(search.work.all) - len(every)
    print("\n| in float | share in eight bits | " + " | ".join(orders) + " |")
    for count in (0, 1, 2, 3, 4, 5, 6, 8, 12, 16):
        left = [error(set(every) - set(order[:count])) for order in orders.values()]
        share = (len(every) - count) / len(search.work.all)
        print(f"| {kept + count} | {share:.0%} | " + " | ".join(f"{value:.4f}" for value in left) + " |", flush=True)


def print_engines(search: StageSearch, judge: Judge, choice: Choice) -> None:
    """The engine beside what the probe says of the same choice."""
    print("\n| bits of weights | probe | ONNX Runtime | OpenVINO |")
    for bits in search.bits:
        made = msgspec.structs.replace(choice, weight_bits=bits)
        figures = [
            judge.probe(made, bits)(made.on),
            *(judge.engine(made, name) for name in ("onnxruntime", "openvino")),
        ]
        print(f"| {bits} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--search", default="product")
    parser.add_argument("--ranges", default="minmax,wide,percentile,mse")
    parser.add_argument("--smoothing", default="0,0.5")
    given = parser.parse_args()
    smoothing = tuple(float(strength) for strength in given.smoothing.split(","))
    settings = Int8Settings(search=given.search, smoothing=smoothing, ranges=tuple(given.ranges.split(",")))
    bundle = bundle_in(given.work)
    about = {"photos": CALIBRATION, "bundle": bundle.digest, "precision": given.precision}
    steps = Steps(given.work / "steps", {**about, "settings": msgspec.to_builtins(settings)})
    stage = bundle.stage("dino")
    work = Work(stage.contract, bundle.engine_path("dino", FP32), settings, Photos(CALIBRATION), steps, given.precision)
    work.observe(lambda *_, **__: None)
    search, judge = StageSearch(work, steps, "onnxruntime", lambda line, **_: print(line, flush=True)), Judge(work)
    every = Work(
        stage.contract,
        work.path,
        msgspec.structs.replace(settings, keep=()),
        Photos(CALIBRATION),
        steps,
        given.precision,
    )
    print_activations(every)
    print_methods(search, judge, smoothing)
    choice = steps.once(f"choice-{given.precision}", Choice, search.find)
    print("\n" + ", ".join(f"{name} {error:.4f}" for name, error in choice.table.items()))
    print(f"{len(choice.on)} of {len(work.all)} products in {given.precision}, weights of {choice.weight_bits} bits")
    if work.format.integer:
        print_engines(search, judge, choice)
    print_curve(search, judge, choice)


if __name__ == "__main__":
    main()
