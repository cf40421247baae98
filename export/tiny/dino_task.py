"""Training the extractor: a dense contrastive loss between the patches of a window."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch.nn.functional as F

from ..models.miniature.networks import WINDOW
from ..reference.embed import Upstream
from ..reference.training_free.dino import Dino
from .contrast import dense_contrast
from .crops import cut_crops
from .dataset import Scenes
from .device import device_of, moved
from .loop import Losses, Part, Task

BATCH = 16


class DinoTask(Task):
    """The extractor's batches and losses. It sees which patches belong together, and no names."""

    def __init__(self, model: Upstream, scenes: Scenes) -> None:
        self.model, self.scenes = model, scenes
        self.device = device_of(model)
        self.extractor = Dino(model, WINDOW).to(self.device)

    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """One: a batch is small."""
        return [partial(self.losses, rng)]

    def losses(self, rng: np.random.Generator) -> Losses:
        """The losses of a batch, by name."""
        crops = moved(cut_crops(self.scenes, rng, BATCH), self.device)
        units = F.normalize(self.extractor.tokens(crops.windows), dim=-1)  # [B, N, C]
        return dense_contrast(units, crops.labels)
