"""A ladder of recipes, from the most thorough to the fastest, on this machine: time, memory, size, start.

    python tests/measure/ladder.py FOLDER [--rounds 3] [--backend openvino] [--only trident-b16,s2clip-nano]

A rung is a recipe with settings of its own. Bundles that are not in FOLDER yet are exported into it, with seeded
random weights. In each round every rung has a process of its own, one after another: it opens the bundle, segments
the photo in the package once, and then once more, which is what is timed. Masks are compared with those of the
topmost rung: with random weights that says nothing about accuracy, and is there for those who have true ones: their
bundles, put into FOLDER by the recipes' names, are taken as they are. Medians of the rounds; start is from the
process's start to its first mask.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

PHOTO = Path(__file__).resolve().parents[2] / "engines" / "coffee.jpg"
WORDS = ("cup; mug", "saucer", "spoon", "table", "coffee", "napkin")
STAGES = ("dino", "clip_image", "sam_encoder", "head", "sam_decoder")
DECODED = {"region_threshold": 0.0, "min_area": 50}
"""So that regions are refined under random weights too, whose certainty means nothing; `--as-recipes` leaves it out."""

WEIGHTS = ("--clip-weights", "random:1", "--dino-weights", "random:2", "--sam-weights", "random:3")


class Rung(NamedTuple):
    """One step of the ladder."""

    name: str
    recipe: str
    settings: Mapping[str, Any] = MappingProxyType({})
    """Parameters that differ from the recipe's."""


RUNGS = (
    Rung("trident-h14", "trident-h14"),
    Rung("s2clip-b16", "s2clip-b16"),
    Rung("s2clip-mobile-sam", "s2clip-mobile-sam"),
    Rung("trident-b16", "trident-b16"),
    Rung("s2clip-small", "s2clip-small"),
    Rung("s2clip-small with 4 windows", "s2clip-small", {"stride": 336}),
    Rung("s2clip-small with 2 windows", "s2clip-small", {"short_side": 336, "stride": 336}),
    Rung("s2clip-nano with 6 windows", "s2clip-nano", {"short_side": 299, "stride": 149}),
    Rung("s2clip-nano", "s2clip-nano"),
    Rung("s2clip-nano with 1 window", "s2clip-nano", {"max_long_side": 224}),
    Rung("s2clip-nano unrefined", "s2clip-nano", {"refine": False}),
)
"""The most thorough first; a photo of 600 × 400 has the windows that are named, and 6 else."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where bundles are, and are exported to")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--against", default="trident-b16", help="the rung whose time the others' are divided into")
    parser.add_argument("--only", help="names of rungs, by comma")
    parser.add_argument("--as-recipes", action="store_true", help="refine the regions that the recipes say")
    parser.add_argument("--json", type=Path, help="where everything is written")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.folder, given.backend, given.threads, json.loads(given.child))
        return
    rungs = [rung for rung in RUNGS if not given.only or rung.name in given.only.split(",")]
    for recipe in dict.fromkeys(rung.recipe for rung in rungs):
        export(given.folder, recipe)
    runs = measured(rungs, given)
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1))
    show(rungs, runs, given)


def export(folder: Path, recipe: str) -> None:
    """Export a recipe with random weights, unless it is there."""
    if not (folder / recipe / "bundle.json").exists():
        print(f"exporting {recipe} …", file=sys.stderr, flush=True)
        command = [str(Path(sys.executable).with_name("export-engines")), recipe, *WEIGHTS]
        subprocess.run([*command, "--output", str(folder / recipe)], check=True, stdout=subprocess.DEVNULL)


def measured(rungs: list[Rung], given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Every rung's runs, by name."""
    runs: dict[str, list[dict[str, Any]]] = {rung.name: [] for rung in rungs}
    for number in range(given.rounds):
        for rung in rungs:
            print(f"round {number + 1}: {rung.name}", file=sys.stderr, flush=True)
            runs[rung.name].append(one_run(given, rung))
    return runs


def one_run(given: argparse.Namespace, rung: Rung) -> dict[str, Any]:
    """A rung in a process of its own."""
    with tempfile.TemporaryDirectory() as room:
        told = {
            "began": time.time(),
            "settings": {**({} if given.as_recipes else DECODED), **rung.settings},
            "mask": f"{room}/mask.npy",
        }
        subprocess.run(
            [sys.executable, __file__, str(given.folder / rung.recipe), "--backend", given.backend,
             "--threads", str(given.threads), "--child", json.dumps(told)], check=True,
        )  # fmt: skip
        figures: dict[str, Any] = json.loads(Path(f"{room}/mask.json").read_text())
        return {**figures, "labels": np.load(f"{room}/mask.npy").tolist()}


def child(bundle: Path, backend: str, threads: int, told: dict[str, Any]) -> None:
    """Open a bundle and segment the photo twice."""
    from ovdeploy.runtime import Segmenter, load_photo
    from ovdeploy.runtime.bench.memory import own_memory

    with Segmenter.load(bundle, backend=backend, threads=threads, parameters=told["settings"]) as segmenter:
        photo, words = load_photo(PHOTO), segmenter.vocabulary(WORDS)
        segmenter.segment(photo, words)
        start = time.time() - told["began"]
        result = segmenter.segment(photo, words)
        peak = own_memory().peak
    np.save(told["mask"], result.mask.astype(np.uint8))
    figures = {"start": start, "timings": dict(result.timings), "peak": peak, "regions": len(result.regions)}
    Path(told["mask"]).with_suffix(".json").write_text(json.dumps(figures))


def show(rungs: list[Rung], runs: dict[str, list[dict[str, Any]]], given: argparse.Namespace) -> None:
    """The table, in Markdown."""
    stages_named = " | ".join(f"`{stage}`" for stage in STAGES)
    print(f"| rung | {stages_named} | photo, ms | × | peak, MiB | MB | start, s | regions | alike |")
    print(f"| {' | '.join(['---'] * (len(STAGES) + 8))} |")
    top = np.array(runs[rungs[0].name][-1]["labels"])
    for rung in rungs:
        own = runs[rung.name]
        stages = [median(run["timings"].get(stage, 0.0) for run in own) for stage in STAGES]
        total = [run["timings"]["total"] for run in own]
        ratio = ""
        if given.against in runs:
            ratio = f"{median(o['timings']['total'] / t for o, t in zip(runs[given.against], total, strict=True)):.2f}"
        alike = (np.array(own[-1]["labels"]) == top).mean()
        size = sum(file.stat().st_size for file in (given.folder / rung.recipe).glob("*") if file.is_file())
        cells = [
            f"{median(total):,.0f} ({min(total):,.0f} to {max(total):,.0f})", ratio,
            f"{median(run['peak'] for run in own) / 2**20:,.0f}", f"{size / 1e6:,.0f}",
            f"{median(run['start'] for run in own):.1f}", str(own[-1]["regions"]), f"{alike:.1%}",
        ]  # fmt: skip
        print(f"| {rung.name} | {' | '.join(f'{ms:,.0f}' for ms in stages)} | {' | '.join(cells)} |")


def median(values: Any) -> float:
    return float(statistics.median(values))


if __name__ == "__main__":
    main()
