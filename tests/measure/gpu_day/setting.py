"""What a GPU day is about: the recipe, its seeds, and where a timing begins and ends."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

SEEDS = {"clip": "random:1", "dino": "random:2", "sam": "random:3"}
RECIPES = {"micro": "micro", "full": "trident-b16"}
RUNS = {"micro": 20, "full": 50}
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


def networks_of(setting: Setting) -> Any:
    from ovdeploy.export.reference.networks import Networks
    from ovdeploy.runtime import load_recipe

    return Networks.load(load_recipe(RECIPES[setting.size]), SEEDS if setting.size == "full" else {})


def told(times: Any) -> dict[str, float]:
    return {key: getattr(times, key) for key in ("p50", "p90", "p99", "mean", "min", "max")} | {"runs": times.runs}


def medians(steps: list[dict[str, float]], runs: int) -> dict[str, float]:
    """Of the last runs, each step's median in milliseconds."""
    return {name: statistics.median(step.get(name, 0.0) for step in steps[-runs:]) for name in steps[-1]}


def so_far(rows: list[dict[str, Any]], boundary: str) -> None:
    """Print what a step has found, so that its time limit does not cost it."""
    print(json.dumps({"rows": rows, "boundary": boundary}), flush=True)
