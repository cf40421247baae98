"""Training the head of CAT-Seg, or of ESC-Net, on the miniature CLIP, which stays as it is.

As CAT-Seg is trained: every class is asked by itself, whether it fills a pixel (binary cross-entropy). What is held out
is never asked about.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import OPENAI_IMAGENET_TEMPLATES

from ...runtime.scenes.names import ALL_NAMES, SEEN, STUFF
from ...runtime.words.tokenizer import ClipTokenizer
from ..models.dense.builds import BUILDS
from ..models.dense.model import LearnedDense
from ..models.miniature.networks import CONTEXT
from ..reference.dense.clip_dense import ClipDense
from ..reference.embed import Upstream
from .crops import cut_window
from .dataset import Scenes
from .device import device_of, moved
from .loop import Losses, Part, Task

BATCH, ASKED = 8, 12
"""Windows of a batch, and classes that are asked about in each: what is in it, and others by chance."""
CLASSES = np.array([ALL_NAMES.index(name) for name in (*SEEN, *STUFF)])


class Window(NamedTuple):
    """A window, and what is true of it."""

    pixels: torch.Tensor
    """[1, 3, c, c] float32 RGB in [0, 1]."""
    truth: torch.Tensor
    """[ASKED, c, c] float32, 1 where a class fills the pixel."""


class DenseTask(Task):
    """Batches and losses of the head."""

    def __init__(self, model: str, head: Upstream, clip: Upstream, scenes: Scenes, tokenizer: ClipTokenizer) -> None:
        assert tokenizer.context_length == CONTEXT
        row = BUILDS[model]
        clip.eval().requires_grad_(False)
        self.head: Upstream = head
        self.scenes, self.device = scenes, device_of(head)
        self.tower = ClipDense(LearnedDense(clip, head, row.taps, row.side)).to(self.device)
        self.words = self._embedded(clip.to(self.device), tokenizer)

    @torch.no_grad()
    def _embedded(self, clip: Upstream, tokenizer: ClipTokenizer) -> torch.Tensor:
        """[names, templates, C]: every name in every prompt, at unit length."""
        said = [[template(name) for template in OPENAI_IMAGENET_TEMPLATES] for name in ALL_NAMES]
        rows = [clip.encode_text(torch.from_numpy(tokenizer(each)).long().to(self.device)) for each in said]
        return F.normalize(torch.stack(rows), dim=-1)

    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """One for each window: classes differ from one to another."""
        return [partial(self.losses, np.random.default_rng(seed)) for seed in rng.integers(0, 1 << 62, BATCH)]

    def losses(self, rng: np.random.Generator) -> Losses:
        """The loss of a window."""
        photo, names, _ = self.scenes[int(rng.integers(0, len(self.scenes)))]
        window, labels = cut_window(photo, names, rng)
        asked = ask(labels, rng)
        seen = moved(_batch(window, labels, asked), self.device)
        with torch.no_grad():
            tokens, taps = self.tower.tower(self.tower.normalise(seen.pixels))
        finer, finest = self.head.finer((taps[0], taps[1]))
        text = self.words[asked, rng.integers(0, self.words.shape[1], len(asked))]
        logits = self.head.transformer(self.tower.as_map(tokens[:, 1:]), finer, finest, text)
        logits = F.interpolate(logits[None], labels.shape, mode="bilinear", align_corners=False)[0]
        return {"pixels": F.binary_cross_entropy_with_logits(logits, seen.truth)}


def _batch(window: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> Window:
    pixels = torch.from_numpy(np.ascontiguousarray(window)).permute(2, 0, 1)[None].float() / 255
    return Window(pixels, torch.from_numpy(labels[None] == asked[:, None, None]).float())


def ask(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[ASKED] indices into `ALL_NAMES`, in random order: those in a window [c, c], the rest by chance."""
    present = np.intersect1d(labels, CLASSES)[:ASKED]
    others = rng.permutation(np.setdiff1d(CLASSES, present))[: ASKED - len(present)]
    return rng.permutation(np.concatenate([present, others]))
