"""What the reference remembers of a photo, for parity and for reading along."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ...runtime.geometry.sizes import HW
from ...runtime.recipe.parameters import Parameters
from .training_free.refine import Prompted

Tensors = dict[str, torch.Tensor]


@dataclass
class Trace:
    """What the reference computed on the way.

    Attributes:
        photo: [H, W, 3] uint8 RGB.
        settings: the parameters in force.
        stages: inputs and outputs of every stage, by stage.
        resized_hw: the photo's size before it was aligned.
        aligned_hw: the size that windows were cut from.
        starts: y and x of every window.
        tokens_hw: SAM's valid tokens, of all parts with an affinity side by side; None without an affinity.
        affinities: every such part's valid tokens, and its affinity [N, N] over SAM's grid.
        sam_features: [1, 256, S/16, S/16] of the whole photo; None without refinement.
        aggregated: [N, D] affinity times spliced features, where features are spliced.
        image_features: unit features that are compared with the embeddings: [N, E] over SAM's valid tokens where
            features are spliced, else [B, N, E] for every window.
        probabilities: [C, H, W] before refinement.
        coarse: [H, W] class index before refinement.
        prompted: regions, prompts and what SAM's decoder made of them; None without refinement or regions.
        mask: [H, W] class index.
        scores: [H, W] the winning class's probability or score.
        timings: milliseconds per step.
    """

    photo: np.ndarray
    settings: Parameters
    stages: dict[str, tuple[Tensors, Tensors]] = field(default_factory=dict)
    resized_hw: HW = (0, 0)
    aligned_hw: HW = (0, 0)
    starts: list[HW] = field(default_factory=list)
    tokens_hw: HW | None = None
    affinities: list[tuple[HW, torch.Tensor]] = field(default_factory=list)
    sam_features: torch.Tensor | None = None
    aggregated: torch.Tensor | None = None
    image_features: torch.Tensor | None = None
    probabilities: torch.Tensor | None = None
    coarse: np.ndarray | None = None
    prompted: Prompted | None = None
    mask: np.ndarray | None = None
    scores: np.ndarray | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add a block's milliseconds under a name."""
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + (time.perf_counter() - start) * 1e3
