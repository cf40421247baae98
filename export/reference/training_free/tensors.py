"""Tensors that several stages of the training-free pipeline take or give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....runtime.stage.contract import TensorSpec
from ..maker import UNIT, tensor

if TYPE_CHECKING:
    from ..networks import Networks


def windows(networks: Networks) -> TensorSpec:
    """The windows that CLIP and DINO see."""
    crop = networks.recipe.parameters.crop
    return tensor("windows", ("B", 3, crop, crop), "window, RGB, y, x", "0 to 1")


def dino_features(networks: Networks, name: str = "features") -> TensorSpec:
    """DINO's features of windows."""
    channels = networks.modules[PROXY].width
    return tensor(name, ("B", channels, *networks.dimensions.feature_grid), "window, channel, y, x", UNIT)


def mean_similarity() -> TensorSpec:
    """The mean over all pairs of a window's features of their similarity."""
    return tensor("mean_similarity", ("B",), "window", "-1 to 1")


def affinity(networks: Networks) -> TensorSpec:
    """SAM's affinity between tokens."""
    tokens = networks.dimensions.sam_grid**2
    return tensor("affinity", (tokens, tokens), "to token, from token", "0 to 1; valid rows sum to 1")


def width(networks: Networks) -> int:
    """Channels of CLIP's tokens, D."""
    return int(networks.models["clip"].visual.ln_post.normalized_shape[0])


PROXY = "dino"
"""The stage whose features stand in for CLIP's attention."""
