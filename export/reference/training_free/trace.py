"""The trace of the training-free pipeline's reference, for parity and for reading along."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ....runtime.geometry.sizes import HW
from ....runtime.recipe.parameters import Parameters
from ..promptable.refinement import RefinedTrace


@dataclass(kw_only=True)
class TrainingFreeTrace(RefinedTrace):
    """Values that the reference computed on the way, beside those of every trace that may be refined.

    Attributes:
        resized_hw: the photo's size before it was aligned.
        aligned_hw: the size that windows were cut from.
        starts: y and x of every window.
        tokens_hw: SAM's valid tokens, of all parts with an affinity side by side; None without an affinity.
        affinities: every such part's valid tokens, and its affinity [N, N] over SAM's grid.
        aggregated: [N, D] affinity times spliced features, where features are spliced.
        image_features: unit features that are compared with the embeddings: [N, E] over SAM's valid tokens where
            features are spliced, else [B, N, E] for every window.
    """

    settings: Parameters
    resized_hw: HW = (0, 0)
    aligned_hw: HW = (0, 0)
    starts: list[HW] = field(default_factory=list)
    tokens_hw: HW | None = None
    affinities: list[tuple[HW, torch.Tensor]] = field(default_factory=list)
    aggregated: torch.Tensor | None = None
    image_features: torch.Tensor | None = None
