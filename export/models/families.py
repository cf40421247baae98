"""The foundation models: which can play which role, and how they are made.

Upstream code is wrapped, not copied. Each role is an entry point of `ovdeploy.models`, so that a pipeline from outside
the package brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import nn

from ...runtime.errors import RecipeError, one_of
from .checkpoints.fitting import Reading

MODELS = "ovdeploy.models"
"""Entry-point group of roles: each loads a `ModelFamily`."""

StateDict = dict[str, torch.Tensor]

MICRO = "micro"
"""Random weights only: the architectures at their smallest, for tests."""
TINY = "tiny"
"""The miniature models, whose trained weights come with the package."""

TRANSFORMERS = (
    ("visual.transformer", "resblocks"),
    ("transformer", "resblocks"),
    ("image_encoder", "blocks"),
    ("", "blocks"),
)
"""Where the models' blocks are: module and attribute. CLIP has two transformers."""


class ModelFamily(NamedTuple):
    """The models that can play one role."""

    names: Callable[[], Iterable[str]]
    build: Callable[[str], nn.Module]
    """Make a model by name, its weights not yet meaningful."""
    pretrained: Callable[[str, str], StateDict]
    """Fetch published weights: model name, tag."""
    licence: Callable[[str], str] = lambda name: ""
    """SPDX name of a model's licence, by its name; empty where nobody wrote it down."""
    reading: Callable[[str], Reading] = lambda name: Reading()
    """The names that a model's checkpoints may have, by the model's; those of the model itself are always read."""
    unpublished: Callable[[str], str] = lambda name: ""
    """Why a model has no published weights, by its name; empty where it has, or nobody knows."""
    package: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """Weights that come with the package, by the model's name, where it is not `tiny` with a file of the role's name:
    files, and what stands before their names in the model."""
    beside: Callable[[nn.Module, Path], None] = lambda module, path: None
    """Takes what else of a model stands in the folder of its checkpoint: the model, and the checkpoint's path."""


def roles() -> tuple[str, ...]:
    """All roles that some package brings models for."""
    return tuple(sorted(entry_points(group=MODELS).names))


@cache
def family_of(role: str) -> ModelFamily:
    """The models of a role.

    Raises:
        RecipeError: no package brings any.
    """
    if role not in roles():
        raise RecipeError(one_of("role", role, roles()))
    family: ModelFamily = entry_points(group=MODELS)[role].load()
    return family


def build_model(role: str, name: str, depth: int | None = None) -> nn.Module:
    """Make a model in evaluation mode.

    Args:
        role: `clip`, `dino`, `sam`, or another that a package brings.
        name: one of the role's names.
        depth: keep only so many of the last blocks of its transformers; None keeps all.

    Raises:
        RecipeError: no such model; the message lists those there are.
    """
    family = family_of(role)
    names = set(family.names())
    if name not in names:
        raise RecipeError(one_of(f"{role} model", name, names))
    model = family.build(name)
    model.eval().requires_grad_(False)
    if depth is not None:
        for owner, blocks in TRANSFORMERS:
            _keep_last(model, owner, blocks, depth)
    return model


def _keep_last(model: nn.Module, owner: str, blocks: str, depth: int) -> None:
    """Shorten `model.owner.blocks`, where the model has it. The last block of SAM's encoder is global, and stays."""
    try:
        module = model.get_submodule(owner)
    except AttributeError:
        return
    if isinstance(getattr(module, blocks, None), (nn.ModuleList, nn.Sequential)):
        setattr(module, blocks, getattr(module, blocks)[-depth:])
