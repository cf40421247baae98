"""Training SAM 2's image side and its memory together, on drawn clips.

A clip's first frame is prompted, by points, boxes or masks; the frames behind it have memory alone. What is told of a
thing that is not there is its score, not its mask: memories and pointers are those of a decoder that scores rightly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..models.promptable.memory.video import NOTHING, VideoSam2
from ..reference.embed import Upstream
from .device import device_of, moved
from .loop import Losses, Part, Task
from .sam_losses import best_losses, best_of_each
from .sam_user import boxes_of, pick
from .video_clips import SIDE, Followed, some_clip

BATCH, FRAMES, THINGS = 4, 8, 3
"""Of frames so many that the last reads as many before it as the tracker does."""
OLD_SIDE = 512
"""Of the square that users' prompts are drawn in, for SAM."""
THERE = 2.0
"""Cells that a thing has at least where it counts as there."""
SCORE = 0.5
"""Weight of the score's loss."""
KINDS = ("point", "box", "mask")
TAKEN = {"prompt_encoder.": "sam_prompt_encoder.", "mask_decoder.": "sam_mask_decoder."}
"""Beginnings of names in the miniature SAM, and what they are here."""
LAYERS = {".lin1.": ".layers.0.", ".lin2.": ".layers.1."}
"""Likewise, of layers."""


class Kept(NamedTuple):
    """What a frame leaves behind."""

    memory: torch.Tensor
    """[O, g², D]."""
    pointer: torch.Tensor
    """[O, C]."""


def begin_with_sam(model: Upstream, sam: Mapping[str, torch.Tensor]) -> None:
    """Give a model a miniature SAM's weights where names and shapes are the same: prompts, and the decoder.

    Args:
        model: changed in place.
        sam: a state dict of SAM's.
    """
    state, own = model.state_dict(), {}
    for name, value in sam.items():
        renamed = _renamed(name)
        if renamed in state and state[renamed].shape == value.shape:
            own[renamed] = value.float()
    model.load_state_dict({**state, **own})


def _renamed(name: str) -> str:
    """What a tensor of SAM is called here; nothing's name if it is not taken."""
    begins = next((each for each in TAKEN if name.startswith(each)), None)
    if begins is None:
        return ""
    name = TAKEN[begins] + name.removeprefix(begins)
    for theirs, ours in LAYERS.items():
        name = name.replace(theirs, ours)
    return name


class VideoTask(Task):
    """Batches of clips, and their losses."""

    def __init__(self, model: VideoSam2) -> None:
        self.model = model

    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """One for each clip."""
        return [partial(self.losses, np.random.default_rng(seed)) for seed in rng.integers(0, 1 << 62, BATCH)]

    def losses(self, rng: np.random.Generator) -> Losses:
        """The losses of a clip: masks, estimates of IoU, scores; of its first frame and of those behind it."""
        clip = moved(some_clip(rng, FRAMES, THINGS), device_of(self.model))
        encoded = [self.model.encode(image[None]) for image in clip.images]
        mask, iou, score, kept = self._first(clip, encoded[0], str(rng.choice(KINDS)), rng)
        told, memories = [(mask, iou, score)], [kept]
        for number in range(1, len(clip.images)):
            mask, iou, score, kept = self._next(clip.targets[number], encoded[number], memories)
            told.append((mask, iou, score))
            memories.append(kept)
        masks, ious, scores = (torch.stack(each) for each in zip(*told, strict=True))
        return {"first": masks[0], "followed": masks[1:].mean(), "iou": ious.mean(), "score": SCORE * scores.mean()}

    def _first(
        self, clip: Followed, encoded: tuple[torch.Tensor, ...], kind: str, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Kept]:
        model, targets = self.model, clip.targets[0]
        bare, *high = encoded
        count = len(targets)
        sparse, dense = self._asked(clip, kind, rng)
        features = bare if kind == "mask" else model.unremembered(bare)
        masks, iou, score, tokens = self._tell(features.expand(count, -1, -1, -1), high, sparse, dense)
        mask, estimate = best_losses((masks, iou), targets)
        best = iou.new_zeros(count).long() if kind == "box" else 1 + iou[:, 1:].argmax(1)
        rows = torch.arange(count, device=targets.device)
        logits = clip.sharp * 20 - 10 if kind == "mask" else masks[rows, best, None]
        there = targets.new_ones(count, 1)
        kept = Kept(model.remember(bare, logits, there[:, 0] > 0, there), model.obj_ptr_proj(tokens)[rows, best])
        return mask, estimate, F.binary_cross_entropy_with_logits(score, there), kept

    def _asked(self, clip: Followed, kind: str, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The prompts' tokens [O, N, C], and the mask's features [O, C, g, g]."""
        encoder, targets = self.model.sam_prompt_encoder, clip.targets[0]
        scale = SIDE / OLD_SIDE
        if kind == "mask":
            small = self.model.mask_downsample(clip.sharp)
            return self._nothing(len(targets)), encoder.mask_downscaling(small)
        if kind == "box":
            corners = (boxes_of(targets, rng) * scale).unflatten(1, (2, 2))
            kinds = targets.new_tensor([[2.0, 3.0]]).expand(len(targets), -1)
        else:
            corners = (pick(targets > 0.5, rng) * scale)[:, None]
            kinds = targets.new_ones(len(targets), 1)
        sparse, dense = encoder((corners, kinds), None, None)
        return sparse, dense

    def _nothing(self, count: int) -> torch.Tensor:
        return self.model.sam_prompt_encoder.not_a_point_embed.weight.expand(count, 2, -1)

    def _next(
        self, targets: torch.Tensor, encoded: tuple[torch.Tensor, ...], memories: list[Kept]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Kept]:
        model = self.model
        bare, *high = encoded
        device, since = targets.device, range(len(memories) - 1, 0, -1)
        ages = torch.tensor([0, *since], dtype=torch.int32, device=device)
        distances = torch.tensor([len(memories), *since], device=device) / 15
        memory = torch.stack([each.memory for each in memories], 1)
        pointers = torch.stack([each.pointer for each in memories], 1)
        features = model.recall(bare, memory, ages, pointers, distances)
        count = len(targets)
        masks, iou, score, tokens = self._tell(features, high, self._nothing(count), None)
        there = (targets.sum((-2, -1)) >= THERE).float()[:, None]
        mask, estimate = _losses_of_those_there(masks, iou, targets, there[:, 0])
        best = 1 + iou[:, 1:].argmax(1)  # as the tracker chooses where nothing is asked
        rows, asked = torch.arange(count, device=device), torch.zeros(count, dtype=torch.bool, device=device)
        logits = torch.where(there[..., None, None] > 0, masks[rows, best, None], NOTHING)
        pointer = torch.where(there > 0, model.obj_ptr_proj(tokens)[rows, best], model.no_obj_ptr)
        kept = Kept(model.remember(bare, logits, asked, there - 0.5), pointer)
        return mask, estimate, F.binary_cross_entropy_with_logits(score, there), kept

    def _tell(
        self, features: torch.Tensor, high: list[torch.Tensor], sparse: torch.Tensor, dense: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        encoder = self.model.sam_prompt_encoder
        if dense is None:
            dense = encoder.no_mask_embed.weight[:, :, None, None].expand(*features.shape[:2], *features.shape[2:])
        return self.model.sam_mask_decoder.tell((features, *high), encoder.get_dense_pe(), sparse, dense)


def _losses_of_those_there(
    masks: torch.Tensor, iou: torch.Tensor, targets: torch.Tensor, there: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`best_losses` of the things that are there [O], of masks [O, 4, m, m] and estimates [O, 4]; 0 without any."""
    share = there / there.sum().clamp(min=1)
    mask, error = best_of_each((masks, iou), targets)
    return (mask * share).sum(), (error * share).sum()
