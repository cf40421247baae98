"""The learned dense models, by the names that recipes give."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..clip import CLIP
from . import catseg, escnet
from .model import Build, Head, LearnedDense

BUILDS: Mapping[str, Build] = {**catseg.BUILDS, **escnet.BUILDS}
"""By the name that a recipe gives."""


def build_head(name: str) -> Head:
    """A model's head by the model's name."""
    return BUILDS[name].head()


def build(name: str) -> nn.Module:
    """A model by its name."""
    row = BUILDS[name]
    return LearnedDense(CLIP.build(row.clip), row.head(), row.taps, row.side, row.template)
