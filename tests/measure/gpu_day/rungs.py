"""Rungs of the ladder of recipes on a GPU: a photo's latency and its stages', from seeds, in FP16, by one backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpu_day.setting import HOST, RUNS, SEEDS, Setting, medians, told
from ovdeploy.runtime.backends.measures import Times, summarize, timed_runs
from ovdeploy.runtime.backends.registry import BACKENDS, OVERLAP
from ovdeploy.runtime.bundle.bundle import MANIFEST, Bundle

RUNGS = ("s2clip-b16", "s2clip-small", "s2clip-nano")
"""Recipes, each at its full size: what a GPU is asked for beside the day's own."""

PRECISION = "fp16"


def rung(setting: Setting, recipe: str, backend: str) -> dict[str, Any]:
    """Export a recipe, build what the backend runs, and time photos: engines side by side and one by one."""
    from ovdeploy.runtime.bundle.plan_building import build_plans

    bundle = exported(setting, recipe)
    if BACKENDS[backend].engine == "plan":
        build_plans(bundle, precision=PRECISION, library=backend)
    opened, runs = Bundle.load(bundle.path), max(3, RUNS[setting.size] // 5)
    rows, steps = [], {}
    for value in BACKENDS[backend].options.get(OVERLAP, ("",)):
        way, told_way = ({OVERLAP: value}, f", {OVERLAP}={value}") if value else ({}, "")
        times, of_steps = _timed(opened, backend, way, runs)
        rows.append({"stage": f"{recipe}, a photo{told_way}", "times": told(times)})
        steps[value or "as it is"] = of_steps
    return {"rows": rows, "steps": steps, "boundary": HOST}


def exported(setting: Setting, recipe: str) -> Bundle:
    """A recipe in FP16, from the day's seeds."""
    from ovdeploy.export.bundling.build import build_bundle
    from ovdeploy.export.bundling.half import HalfConversion
    from ovdeploy.export.reference.networks import Networks
    from ovdeploy.runtime import load_recipe

    folder = Path(setting.work) / recipe
    if (folder / MANIFEST).exists():
        return Bundle.load(folder)
    loaded = load_recipe(recipe)
    networks = Networks.load(loaded, {role: seed for role, seed in SEEDS.items() if role in loaded.models})
    build_bundle(networks, folder, conversion=HalfConversion(networks, PRECISION))
    return Bundle.load(folder)


def _timed(bundle: Bundle, backend: str, way: Mapping[str, str], runs: int) -> tuple[Times, dict[str, float]]:
    """From the decoded photo to the mask, with a backend's own options; and medians of the steps, in milliseconds."""
    from ovdeploy.runtime import Segmenter, Vocabulary, load_photo
    from ovdeploy.runtime.photo.reading import demo_photo

    image, steps = load_photo(demo_photo()), list[dict[str, float]]()
    rng = np.random.default_rng(0)
    words = Vocabulary(["a", "b", "c"], rng.standard_normal((3, bundle.manifest.dimensions.embedding)))
    with Segmenter.load(bundle.path, backend=backend, precision=PRECISION, backend_options=way) as segmenter:
        segmenter.segment(image, words)
        segmenter.warmup()
        times = summarize(
            timed_runs(lambda: steps.append(dict(segmenter.segment(image, words).timings)), runs), HOST, "photo"
        )
    return times, medians(steps, runs)
