"""The trace of the training-free pipeline's reference, for parity and for reading along."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ....runtime.geometry.sizes import HW
from ....runtime.recipe.parameters import Parameters
from ..trace import Trace
from .refine import Prompted


@dataclass(kw_only=True)
class TrainingFreeTrace(Trace):
    """Values that the reference computed on the way, beside those of every trace.

    Attributes:
        resized_hw: the photo's size before it was aligned.
        aligned_hw: the size that windows were cut from.
        starts: y and x of every window.
        tokens_hw: SAM's valid tokens, of all parts with an affinity side by side; None without an affinity.
        affinities: every such part's valid tokens, and its affinity [N, N] over SAM's grid.
        sam_maps: SAM's features of the whole photo, as its decoder takes them; None without refinement.
        aggregated: [N, D] affinity times spliced features, where features are spliced.
        image_features: unit features that are compared with the embeddings: [N, E] over SAM's valid tokens where
            features are spliced, else [B, N, E] for every window.
        probabilities: [C, H, W] before refinement.
        prompted: regions, prompts and what SAM's decoder made of them; None without refinement or regions.
    """

    settings: Parameters
    resized_hw: HW = (0, 0)
    aligned_hw: HW = (0, 0)
    starts: list[HW] = field(default_factory=list)
    tokens_hw: HW | None = None
    affinities: list[tuple[HW, torch.Tensor]] = field(default_factory=list)
    sam_maps: dict[str, torch.Tensor] | None = None
    aggregated: torch.Tensor | None = None
    image_features: torch.Tensor | None = None
    probabilities: torch.Tensor | None = None
    prompted: Prompted | None = None

    @property
    def regions(self) -> int:
        """How many regions were prompted."""
        return len(self.prompted.regions) if self.prompted else 0
