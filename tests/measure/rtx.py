"""Plans by TensorRT-RTX of every stage in every precision, as the table of docs/gpu.md has them. It needs no GPU.

    python tests/measure/rtx.py small                  (tiny and sam-tiny, all precisions: about two minutes)
    python tests/measure/rtx.py full                   (published sizes, FP16: about half an hour, 16 GB)
    python tests/measure/rtx.py full trident-h14 dinov3

Weights are random but for `tiny`'s. For INT8 and FP8 the range of every value is taken to be 8: it does not matter to
what is built. A row is printed as soon as it is there; the exit code is 1 if something was not built.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from ovdeploy.export.bundling.onnx_export import export_onnx
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import load_recipe
from ovdeploy.runtime.backends.tensorrt.build import build_plan
from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
from ovdeploy.runtime.backends.tensorrt.targets import targets_for
from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.graph.islands import STANDARD
from ovdeploy.runtime.graph.model import load_model, save_model
from ovdeploy.runtime.reporting import silent
from ovdeploy.runtime.stage.precision import FP8, FP32, HALF, INT8, INT8W

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.precisions import graph_in

LIBRARY = LIBRARIES["tensorrt-rtx"]
PRECISIONS = (FP32, *HALF, INT8W, INT8, FP8)


@dataclass(frozen=True)
class Case:
    """A recipe, with other models than its own."""

    recipe: str
    models: dict[str, str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()

    def networks(self) -> Networks:
        recipe = load_recipe(self.recipe)
        models = {
            role: msgspec.structs.replace(choice, model=self.models.get(role, choice.model))
            for role, choice in recipe.models.items()
        }
        recipe = msgspec.structs.replace(recipe, models=models)
        seeds = {role: f"random:{seed}" for seed, role in enumerate(recipe.models, start=1)}
        return Networks.load(recipe, seeds if not self.recipe.endswith("tiny") else {})


SMALL = {"tiny": Case("tiny"), "sam-tiny": Case("sam-tiny")}
FULL = {
    "trident-b16": Case("trident-b16"),
    "s2clip-b16": Case("s2clip-b16", stages=("dino", "clip_image", "head")),
    "dinov2": Case("proxyclip-b16", {"dino": "vit_base_patch14_dinov2.lvd142m"}, stages=("dino",)),
    "dinov3": Case("proxyclip-b16", {"dino": "vit_base_patch16_dinov3.lvd1689m"}, stages=("dino",)),
    "sam-as-dino": Case("proxyclip-b16", {"dino": "sam_vit_b"}, stages=("dino",)),
    "sam-l": Case("sam-b", {"sam": "vit_l"}),
    "mobile-sam": Case("mobile-sam"),
    "efficientvit-sam-l0": Case("efficientvit-sam-l0", stages=("sam_encoder",)),
    "efficientvit-sam-l1": Case("efficientvit-sam-l1", stages=("sam_encoder",)),
    "edgetam": Case("edgetam"),
    "sam2.1-tiny": Case("edgetam", {"sam": "sam2.1_hiera_tiny"}, stages=("sam_encoder",)),
    "trident-h14": Case("trident-h14", stages=("text_encoder", "clip_image", "sam_encoder", "head", "sam_decoder")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "full"])
    parser.add_argument("names", nargs="*", help="cases; none means all")
    given = parser.parse_args()
    cases = SMALL if given.what == "small" else FULL
    print(f"TensorRT-RTX {LIBRARY.load().__version__}, {platform.machine()}, no GPU asked for", file=sys.stderr)
    print("| case | stage | precision | nodes | layers | build, s | plan, MB | bytes a weight |\n" + "| --- " * 8 + "|")
    failed = False
    for name in given.names or cases:
        for row in rows(name, cases[name], PRECISIONS if given.what == "small" else ("fp16",)):
            failed |= row.startswith("FAILED")
            print(row, flush=True)
    sys.exit(1 if failed else 0)


def rows(name: str, case: Case, precisions: tuple[str, ...]) -> Iterator[str]:
    networks = case.networks()
    for stage in case.stages or networks.recipe.possible_stages:
        contract = networks.contract(stage)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"{stage}.onnx"
            export_onnx(networks.modules[stage], contract, source)
            count = sum(
                int(np.prod(t.dims)) for t in load_model(source, weights=False).graph.initializer if t.data_type == 1
            )
            for precision in precisions:
                try:
                    path = source.with_name(f"{stage}.{precision}.onnx")
                    save_model(graph_in(precision, source, STANDARD), path)
                    options = PlanOptions(ranges=contract.ranges, targets=targets_for(precision))
                    start = time.perf_counter()
                    made = build_plan(LIBRARY, path, contract, options, b"", silent)
                    seconds = time.perf_counter() - start
                except OvdeployError as error:
                    yield f"FAILED {name} {stage} {precision}: {error}"
                    continue
                nodes, layers = len(load_model(path, weights=False).graph.node), sum(made.layers.values())
                size = len(made.plan)
                yield (
                    f"| {name} | `{stage}` | {precision} | {nodes} | {layers} | {seconds:.1f} | {size / 1e6:.1f} | "
                    f"{size / max(count, 1):.2f} |"
                )


if __name__ == "__main__":
    main()
