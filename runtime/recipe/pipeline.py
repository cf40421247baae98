"""A pipeline, as data. How it runs a photo is its own plain code, behind its interfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ParameterError
from .parameters import with_overrides

if TYPE_CHECKING:
    import msgspec

    from ..stage.contract import Axis
    from .recipe import Recipe


def always(recipe: Recipe) -> bool:
    """For stages that every recipe of a pipeline has."""
    return True


@dataclass(frozen=True, kw_only=True)
class StageUse:
    """A stage in a pipeline."""

    name: str
    roles: tuple[str, ...]
    """The models whose weights it holds."""
    after: tuple[str, ...] = ()
    """The stages whose outputs it takes."""
    when: Callable[[Recipe], bool] = always
    """Whether a recipe has it."""
    purpose: str = ""
    """The purpose of a stage that photos do not need; such a stage is exported when it is asked for."""
    lazy: bool = False
    """Whether it is opened when it is first needed, and a bundle may do without it."""
    baked: Mapping[str, str] = field(default_factory=dict)
    """Parameters that its export fixes, and why."""
    loose: Mapping[str, str] = field(default_factory=dict)
    """Outputs behind a threshold, and the tolerance of the recipe that holds for them (all others have `relative`)."""
    choices: frozenset[str] = frozenset()
    """Outputs that are choices, as a place on a map: equal or not. The pipeline's own proof compares them, since it
    knows how close each choice was."""
    sets: frozenset[str] = frozenset()
    """Outputs whose rows, along their second axis, are together a set: near ties may order them otherwise."""
    whole: frozenset[str] = frozenset()
    """Inputs that are the photo's; all others have a row for each of what is asked."""
    int8: bool = False
    """Whether a calibration tries to make it INT8."""


class FixedAxis(NamedTuple):
    """A size of a manifest that an engine's contract shows too."""

    stage: str
    tensor: str
    axis: int
    size: Callable[[Recipe, Any], int]
    """From the recipe and its sizes."""
    said: str
    """The key that says it, for people."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A way in which a bundle is opened."""

    open: Callable[..., Any]
    """Takes a `Bundle`, its `Engines` and overrides of its parameters; gives the interface."""
    stages: tuple[str, ...] = ()
    """Stages that it needs of the bundle; none means all of the recipe's that are not lazy."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A family of recipes: its stages, its parameters, its sizes, and how a bundle of it is opened."""

    name: str
    parameters: type[msgspec.Struct]
    """The type of a recipe's `[parameters]`."""
    sizes: type[msgspec.Struct]
    """The type of the manifest's `dimensions`, the models' sizes."""
    stages: tuple[StageUse, ...]
    """In running order, those that photos do not need at the end."""
    interfaces: Mapping[type, Interface]
    """By what users ask for: `Segmenter`, `Prompter`, …"""
    trial: Interface
    """The interface that `bench`, `calibrate` and the search for islands run on photos: it gives a `Trial`."""
    axes: Callable[[Recipe, Any], Mapping[str, Axis]]
    """The sizes of all dynamic axes of a recipe's stages; takes the recipe and its sizes."""
    fixed: tuple[FixedAxis, ...] = ()
    """What the sizes must be, for the engines' contracts show it."""
    defaults: Callable[[Recipe], Mapping[str, Any]] = lambda recipe: {}
    """Defaults of parameters that depend on the recipe."""
    things: bool = False
    """Whether it finds single things, which may overlap, with a score each: `Result.things`. Their precision is what is
    measured and tuned."""
    unused: Callable[[Recipe], frozenset[str]] = lambda recipe: frozenset()
    """Parameters that a recipe's models do not use. Who sets one is warned, and none is tuned."""
    check: Callable[[Recipe], None] = lambda recipe: None
    """Refuses a recipe, its parameters typed, that this pipeline cannot have, by a RecipeError that says what to do."""
    describe: Callable[[Recipe], str] = lambda recipe: ""
    """One line about a recipe, for people: its method and its source."""
    sweeps: Mapping[str, Any] = field(default_factory=dict)
    """The axes along which `bench` can vary a photo's work, by name."""

    @cached_property
    def by_name(self) -> Mapping[str, StageUse]:
        """The stages by name."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The roles of all models that a recipe may name."""
        return tuple(dict.fromkeys(role for stage in self.stages for role in stage.roles))

    @cached_property
    def baked(self) -> Mapping[str, str]:
        """Parameters that an export fixes, and why."""
        return {name: why for stage in self.stages for name, why in stage.baked.items()}

    def override(self, parameters: Any, overrides: Mapping[str, Any] | None) -> Any:
        """Parameters with some values replaced.

        Raises:
            ParameterError: as `with_overrides`.
        """
        return with_overrides(parameters, overrides, self.baked)

    def needed_by(self, kind: type) -> tuple[str, ...]:
        """Stages that an interface needs, of those that photos do not.

        Raises:
            ParameterError: the pipeline has no such interface.
        """
        if kind not in self.interfaces:
            raise ParameterError(f"the pipeline {self.name!r} has no {kind.__name__}; it has {self.doors}")
        return tuple(name for name in self.interfaces[kind].stages if self.by_name[name].purpose)

    @property
    def doors(self) -> str:
        """Its interfaces, for people."""
        return ", ".join(kind.__name__ for kind in self.interfaces)
