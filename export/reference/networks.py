"""The foundation models of a recipe with their weights, and the modules that its stages make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...runtime.bundle.bundle import Provenance
from ...runtime.errors import ExportError
from ...runtime.recipe.recipe import Recipe
from ...runtime.recipe.registry import known_methods
from ...runtime.stage.contract import StageContract
from ..models.weights import load_model
from .embed import Upstream
from .family import Family, family_of
from .maker import StageMaker


@dataclass(frozen=True)
class Networks:
    """The foundation models of a recipe, and a module for every stage."""

    recipe: Recipe
    models: Mapping[str, Upstream]
    provenance: Mapping[str, Provenance]

    @classmethod
    def load(cls, recipe: Recipe, weights: Mapping[str, str | None] | None = None) -> Networks:
        """Make the models and fill them.

        Args:
            recipe: names the models.
            weights: by role, `pretrained`, `random:SEED` or a path; what is missing comes from the recipe.

        Raises:
            RecipeError: a model does not exist, or the crop does not fit its patch.
            WeightsError: weights cannot be had or do not fit.
            ExportError: the model's architecture is not one that the stages can wrap, or the pipeline has no reference.
        """
        sources = weights or {}
        family = family_of(recipe.pipeline)
        loaded = {role: load_model(role, choice, sources.get(role)) for role, choice in recipe.models.items()}
        networks = cls(recipe, {r: m for r, (m, _) in loaded.items()}, {r: p for r, (_, p) in loaded.items()})
        family.check(networks)
        return networks

    @cached_property
    def family(self) -> Family:
        """The PyTorch side of the recipe's pipeline."""
        return family_of(self.recipe.pipeline)

    @property
    def row(self) -> Any:
        """The row of the methods table that the recipe names."""
        return known_methods()[self.recipe.method]

    @cached_property
    def dimensions(self) -> Any:
        """The sizes that the engines fix: the pipeline's struct."""
        return self.family.sizes(self)

    @cached_property
    def makers(self) -> Mapping[str, StageMaker]:
        """The maker of each stage that the recipe may have, optional ones included.

        Raises:
            ExportError: the pipeline's family lacks one.
        """
        makers = self.family.makers(self)
        if missing := [stage for stage in self.recipe.possible_stages if stage not in makers]:
            raise ExportError(
                f"the PyTorch side of the pipeline {self.recipe.pipeline!r} makes no {', '.join(missing)}; "
                f"add a StageMaker to its family"
            )
        return {stage: makers[stage] for stage in self.recipe.possible_stages}

    @cached_property
    def modules(self) -> Mapping[str, Upstream]:
        """A module for every stage that the recipe may have, in evaluation mode, made when it is first asked for."""
        return Modules(self)

    def contract(self, stage: str) -> StageContract:
        """Inputs and outputs of a stage of these networks."""
        maker = self.makers[stage]
        bare = StageContract(stage=stage, inputs=maker.inputs(self), outputs=maker.outputs(self))
        return bare.with_axes(self.axes)

    @cached_property
    def axes(self) -> Mapping[str, Any]:
        """The sizes of all dynamic axes."""
        return self.recipe.family.axes(self.recipe, self.dimensions)


class Modules(Mapping[str, Upstream]):
    """The modules of some networks by stage."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._made: dict[str, Upstream] = {}

    def __getitem__(self, stage: str) -> Upstream:
        if stage not in self._made:
            made = self._networks.makers[stage].module(self._networks)
            self._made[stage] = made.eval().requires_grad_(False)
        return self._made[stage]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks.makers)

    def __len__(self) -> int:
        return len(self._networks.makers)
