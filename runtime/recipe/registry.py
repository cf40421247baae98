"""Entry points that recipes name and this package does not know by itself: pipelines and tables of methods.

This is how the lower rooms reach the upper ones, and how a pipeline or a method from outside the package is as good as
ours. An entry point of `ovdeploy.pipelines` is a `Pipeline` under its name; one of `ovdeploy.methods` a table of
methods by name. They are loaded when a recipe asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ..errors import RecipeError, one_of

if TYPE_CHECKING:
    from .pipeline import Pipeline

PIPELINES, METHODS = "ovdeploy.pipelines", "ovdeploy.methods"


@cache
def pipeline_named(name: str) -> Pipeline:
    """A pipeline by its name.

    Raises:
        RecipeError: no entry point has this name; the message lists those there are.
    """
    known = {point.name: point for point in entry_points(group=PIPELINES)}
    if name not in known:
        raise RecipeError(one_of("pipeline", name, known))
    pipeline: Pipeline = known[name].load()
    return pipeline


@cache
def known_pipelines() -> tuple[Pipeline, ...]:
    """All pipelines, in the order of their names."""
    return tuple(pipeline_named(name) for name in sorted(point.name for point in entry_points(group=PIPELINES)))


@cache
def known_methods() -> Mapping[str, Any]:
    """All methods by name, from every table.

    Raises:
        RecipeError: two tables have a method of the same name.
    """
    found: dict[str, Any] = {}
    for point in sorted(entry_points(group=METHODS), key=lambda point: point.name):
        for name, method in point.load().items():
            if name in found:
                raise RecipeError(f"two tables of methods have a method {name!r}; one is {point.value}")
            found[name] = method
    return found
