"""The pipelines that this package declares."""

from __future__ import annotations

import importlib
from importlib.metadata import distribution

from ovdeploy.runtime.recipe.pipeline import Pipeline
from ovdeploy.runtime.recipe.recipe import TRAINING_FREE
from ovdeploy.runtime.recipe.registry import PIPELINES

from .markdown import summary


def own_pipelines() -> list[Pipeline]:
    """The pipelines that this package declares, whatever others are installed; the default first."""
    points = distribution("ovdeploy").entry_points.select(group=PIPELINES)
    return [point.load() for point in sorted(points, key=lambda point: (point.name != TRAINING_FREE, point.name))]


def package_summary(pipeline: Pipeline) -> str:
    """The first sentence of the package that declares a pipeline."""
    (point,) = distribution("ovdeploy").entry_points.select(group=PIPELINES, name=pipeline.name)
    return summary(importlib.import_module(point.module.rpartition(".")[0]))
