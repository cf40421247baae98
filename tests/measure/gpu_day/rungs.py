"""Rungs of the ladder of recipes on a GPU: a photo's latency and its stages', from seeds, in FP16, by one backend."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from gpu_day.setting import HOST, RUNS, SEEDS, Setting, told
from ovdeploy.runtime.backends.measures import summarize, timed_runs
from ovdeploy.runtime.backends.registry import BACKENDS
from ovdeploy.runtime.bundle.bundle import Bundle

RUNGS = ("s2clip-b16", "s2clip-small", "s2clip-nano")
"""Recipes, each at its full size: what a GPU is asked for beside the day's own."""

PRECISION = "fp16"


def rung(setting: Setting, recipe: str, backend: str) -> dict[str, Any]:
    """Export a recipe, build what the backend runs, and time photos."""
    from ovdeploy.runtime.bundle.plan_building import build_plans

    bundle = exported(setting, recipe)
    if BACKENDS[backend].engine == "plan":
        build_plans(bundle, precision=PRECISION, library=backend)
    return _timed(Bundle.load(bundle.path), backend, max(3, RUNS[setting.size] // 5))


def exported(setting: Setting, recipe: str) -> Bundle:
    """A recipe in FP16, from the day's seeds."""
    from ovdeploy.export.bundling.build import build_bundle
    from ovdeploy.export.bundling.half import HalfConversion
    from ovdeploy.export.reference.networks import Networks
    from ovdeploy.runtime import load_recipe

    told = load_recipe(recipe)
    networks = Networks.load(told, {role: seed for role, seed in SEEDS.items() if role in told.models})
    folder = Path(setting.work) / recipe
    build_bundle(networks, folder, conversion=HalfConversion(networks, PRECISION))
    return Bundle.load(folder)


def _timed(bundle: Bundle, backend: str, runs: int) -> dict[str, Any]:
    """A photo from the decoded photo to the mask; and the steps of the last runs, in milliseconds."""
    from ovdeploy.runtime import Segmenter, Vocabulary, load_photo
    from ovdeploy.runtime.photo.reading import demo_photo

    image, steps = load_photo(demo_photo()), list[dict[str, float]]()
    rng = np.random.default_rng(0)
    words = Vocabulary(["a", "b", "c"], rng.standard_normal((3, bundle.manifest.dimensions.embedding)))
    with Segmenter.load(bundle.path, backend=backend, precision=PRECISION) as segmenter:
        segmenter.segment(image, words)
        segmenter.warmup()
        times = summarize(
            timed_runs(lambda: steps.append(dict(segmenter.segment(image, words).timings)), runs), HOST, "photo"
        )
    medians = {name: statistics.median(step.get(name, 0.0) for step in steps[-runs:]) for name in steps[-1]}
    rows = [{"stage": f"{bundle.recipe.name}, a photo", "times": told(times)}]
    return {"rows": rows, "steps": medians, "boundary": HOST}
