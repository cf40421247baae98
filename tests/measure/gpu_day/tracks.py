"""A frame's latency in a clip on a GPU: four objects through drawn frames, by SAM 2 from seeds, in FP16."""

from __future__ import annotations

import itertools
from typing import Any

from gpu_day import rungs
from gpu_day.setting import HOST, RUNS, Setting, medians, told
from ovdeploy.runtime.backends.measures import summarize, timed_runs
from ovdeploy.runtime.backends.registry import BACKENDS
from ovdeploy.runtime.bundle.bundle import Bundle

RECIPE = "sam2-tiny"
OBJECTS = 4
SETTLED = 16
"""Frames after which each reads as much as the one before."""


def track(setting: Setting, recipe: str, backend: str) -> dict[str, Any]:
    """Export a recipe of the pipeline `tracking`, build what the backend runs, and time frames."""
    from ovdeploy.runtime.bundle.plan_building import build_plans
    from ovdeploy.runtime.pipelines.tracking.tracker import STAGES

    bundle = rungs.exported(setting, recipe)
    if BACKENDS[backend].engine == "plan":
        build_plans(bundle, precision=rungs.PRECISION, library=backend, stages=STAGES)
    return _timed(Bundle.load(bundle.path), backend, max(3, RUNS[setting.size] // 2))


def _timed(bundle: Bundle, backend: str, runs: int) -> dict[str, Any]:
    """A frame from its pixels to all objects' masks; and the steps of the last runs, in milliseconds."""
    from ovdeploy.runtime import Tracker
    from ovdeploy.runtime.scenes import draw_clip

    frames, steps = draw_clip(1_000_000, SETTLED).frames, list[dict[str, float]]()
    height, width = frames[0].shape[:2]
    with Tracker.load(bundle.path, backend=backend, precision=rungs.PRECISION) as tracker:
        for key in range(OBJECTS):
            tracker.prompt(frames[0], key, points=[[width * (key + 0.5) / OBJECTS, height / 2]])
        following = itertools.cycle(frames)
        for _ in range(SETTLED):
            tracker.step(next(following))
        times = summarize(
            timed_runs(lambda: steps.append(dict(tracker.step(next(following)).timings)), runs), HOST, "frame"
        )
    rows = [{"stage": f"{bundle.recipe.name}, a frame with {OBJECTS} objects", "times": told(times)}]
    return {"rows": rows, "steps": medians(steps, runs), "boundary": HOST}
