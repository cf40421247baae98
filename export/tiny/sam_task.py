"""Training SAM: masks and their IoU from points, boxes and masks, a user's and the pipeline's, and from corrections."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from ..models.miniature.networks import SAM_SIDE
from ..reference.embed import Upstream
from .dataset import Scenes
from .device import device_of, moved
from .loop import Losses, Part, Task
from .sam_affinity import AttentionLoss, encoder_losses, near, within
from .sam_detail import DetailHead, detail_loss
from .sam_losses import IOU, Decoded, best_losses, single_losses
from .sam_prompts import Prompted, halved, prompt_scene
from .sam_user import boxes_of, corrections, pick

QUIET = 0.005
"""Gain of the first bias that mask prompts meet: they are thousandths, and one of the usual size would drown them."""


class Stage(NamedTuple):
    """The training until a step."""

    until: float
    half: bool
    """Whether at half the side, with a quarter of the tokens."""
    images: int
    """Of a batch."""
    regions: int
    """Of an image, that are asked about."""
    users: int
    """Those of them that a user asks about."""
    corrections: int
    """Those of the user's that are asked again."""
    pipeline: bool
    """Whether the pipeline asks about all of them too."""
    detail: bool
    """Whether features are asked for the cells of their tokens."""
    attention: AttentionLoss
    parts: int
    """Into which a batch is divided, for threads."""


STAGES = (
    Stage(1000, True, 8, regions=12, users=12, corrections=4, pipeline=False, detail=False, attention=within, parts=1),
    Stage(2000, False, 4, regions=8, users=8, corrections=3, pipeline=True, detail=False, attention=within, parts=1),
    Stage(4800, False, 4, regions=8, users=8, corrections=3, pipeline=True, detail=True, attention=within, parts=2),
    Stage(math.inf, False, 4, regions=8, users=4, corrections=2, pipeline=True, detail=True, attention=near, parts=2),
)
"""First what points and boxes are, from small images and without mask prompts, which can be copied; then the rest.

The affinity is read from where attention goes. `within` is met by tokens that attend to themselves alone; that makes an
affinity which joins nothing, and so the last stage asks for more.
"""


class SamTask(Task):
    """SAM's batches and losses."""

    def __init__(self, model: Upstream, scenes: Scenes) -> None:
        with torch.no_grad():
            model.prompt_encoder.mask_downscaling[0].bias *= QUIET
        self.scenes, self.device = scenes, device_of(model)
        self.beside = DetailHead().to(self.device)
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        count = max(stage.parts for stage in STAGES)
        self._teachers = [Teacher(copy.deepcopy(model, dict(shared)), self.beside) for _ in range(count)]

    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """The batch's parts, each with scenes of its own."""
        stage = next(stage for stage in STAGES if step < stage.until)
        rngs = [rng] if stage.parts == 1 else rng.spawn(stage.parts)
        return [partial(self._losses, *each, stage) for each in zip(self._teachers, rngs, strict=False)]

    def _losses(self, teacher: Teacher, rng: np.random.Generator, stage: Stage) -> Losses:
        seeds = rng.integers(0, len(self.scenes), stage.images // stage.parts)
        items = [prompt_scene(self.scenes[int(s)], rng, stage.regions, bool(rng.random() < 0.5)) for s in seeds]
        seen = [moved(halved(item) if stage.half else item, self.device) for item in items]
        return teacher.losses(seen, rng, stage)


class Teacher:
    """Asks a SAM and judges its answers. Each thread has a teacher with a SAM that shares its weights with the others:
    what a module remembers or swaps for a call must not be another's.
    """

    def __init__(self, model: Upstream, head: DetailHead) -> None:
        self.model, self.head = model, head
        self._qkv: torch.Tensor | None = None
        model.image_encoder.blocks[-1].attn.qkv.register_forward_hook(self._remember)

    def losses(self, items: list[Prompted], rng: np.random.Generator, stage: Stage) -> Losses:
        """The weighted losses of some scenes, by name."""
        features = self._features(items)
        assert self._qkv is not None, "the encoder has just run"
        told = [
            each
            for image, item in zip(features, items, strict=True)
            for each in self._asked(image[None], item, rng, stage)
        ]
        masks, ious = zip(*told, strict=True)
        attention = self.model.image_encoder.blocks[-1].attn
        losses = {
            "mask": torch.stack(masks).mean(),
            "iou": IOU * torch.stack(ious).mean(),
            **encoder_losses(attention, self._qkv, features, items, rng, stage.attention),
        }
        return {**losses, "detail": detail_loss(self.head, features, items)} if stage.detail else losses

    def _features(self, items: list[Prompted]) -> torch.Tensor:
        """[B, C, h, w]: what SAM's encoder makes of the images, of whatever side."""
        encoder = self.model.image_encoder
        images = (torch.stack([item.image for item in items]) - self.model.pixel_mean) / self.model.pixel_std
        inside = torch.stack([item.inside for item in items])[:, None]
        places = encoder.pos_embed.permute(0, 3, 1, 2)
        places = F.avg_pool2d(places, SAM_SIDE // images.shape[-1]).permute(0, 2, 3, 1)
        features: torch.Tensor = functional_call(encoder, {"pos_embed": places}, (images * inside,))
        return features

    def _asked(
        self, image: torch.Tensor, item: Prompted, rng: np.random.Generator, stage: Stage
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Mask and IoU losses of a user's prompts, of the user's second try, and of the pipeline's prompts."""
        targets, told = item.targets[: stage.users], []
        none, ones = targets.new_zeros(len(targets), 0), targets.new_ones(len(targets), 1)
        if rng.random() < 0.5:
            asked, kinds = pick(targets > 0.5, rng)[:, None], ones
            first = self._decode(image, (asked, kinds), None, None)
            told.append(best_losses(first, targets))
        else:
            asked, kinds = targets.new_zeros(len(targets), 0, 2), none
            first = self._decode(image, None, boxes_of(targets, rng), None)
            told.append(single_losses(first, targets))
        again = slice(0, stage.corrections)
        low_res = first[0][again, :1].detach()
        wrong, kind = corrections(low_res[:, 0], targets[again], rng)
        points = torch.cat([asked[again], wrong[:, None]], 1), torch.cat([kinds[again], kind[:, None]], 1)
        told.append(single_losses(self._decode(image, points, None, low_res), targets[again]))
        if stage.pipeline:
            inside = item.points.new_ones(len(item.points), 1)
            decoded = self._decode(image, (item.points[:, None], inside), item.boxes, item.masks)
            told.append(single_losses(decoded, item.targets))
        return told

    def _decode(
        self,
        image: torch.Tensor,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> Decoded:
        prompts, grid = self.model.prompt_encoder, image.shape[-2:]
        sparse, dense = prompts(points, boxes, masks)
        dense = dense if masks is not None else dense[..., : grid[0], : grid[1]]  # one vector everywhere
        decoded: Decoded = self.model.mask_decoder.predict_masks(image, prompts.pe_layer(grid)[None], sparse, dense)
        return decoded

    def _remember(self, module: object, inputs: object, output: torch.Tensor) -> None:
        self._qkv = output
