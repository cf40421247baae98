"""Training SAM: masks and their IoU from points, boxes and masks, a user's and the pipeline's, and from corrections."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from ..reference.embed import Upstream
from .dataset import Scenes
from .loop import Task
from .models import SAM_SIDE
from .sam_affinity import encoder_losses
from .sam_prompts import Prompted, halved, prompt_scene

CROSS_ENTROPY, DICE, IOU = 2.0, 1.0, 1.0
FAR = 0.5
"""Weight of the cross-entropy far from a mask's box, against that inside and near it."""
QUIET = 0.005
"""Gain of the first bias that mask prompts meet: they are thousandths, and one of the usual size would drown them."""


class Stage(NamedTuple):
    """What is trained until a step."""

    until: float
    half: bool
    """Whether at half the side, with a quarter of the tokens."""
    images: int
    """Of a batch."""
    prompts: int
    """Of an image, a user's and, if `pipeline`, as many of the pipeline's."""
    corrections: int
    """Those of the user's that are asked again."""
    pipeline: bool


STAGES = (
    Stage(1000, half=True, images=8, prompts=12, corrections=4, pipeline=False),
    Stage(math.inf, half=False, images=4, prompts=8, corrections=3, pipeline=True),
)
"""First what points and boxes are, from small images and without mask prompts, which can be copied; then the rest."""


class SamTask(Task):
    """SAM's batches and losses."""

    def __init__(self, model: Upstream, scenes: Scenes) -> None:
        self.model: Upstream = model
        self.scenes = scenes
        self._qkv: torch.Tensor | None = None
        with torch.no_grad():
            model.prompt_encoder.mask_downscaling[0].bias *= QUIET
        model.image_encoder.blocks[-1].attn.qkv.register_forward_hook(self._remember)

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, torch.Tensor]:
        """The weighted losses of a batch, by name."""
        stage = next(stage for stage in STAGES if step < stage.until)
        seeds = rng.integers(0, len(self.scenes), stage.images)
        items = [prompt_scene(self.scenes[int(s)], rng, stage.prompts, bool(rng.random() < 0.5)) for s in seeds]
        items = [halved(item) for item in items] if stage.half else items
        features = self._features(items)
        assert self._qkv is not None, "the encoder has just run"
        told = [
            each
            for image, item in zip(features, items, strict=True)
            for each in self._asked(image[None], item, rng, stage)
        ]
        masks, ious = zip(*told, strict=True)
        attention = self.model.image_encoder.blocks[-1].attn
        return {
            "mask": torch.stack(masks).mean(),
            "iou": IOU * torch.stack(ious).mean(),
            **encoder_losses(attention, self._qkv, features, items, rng),
        }

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
        targets, told = item.targets, []
        none, ones = torch.zeros(len(targets), 0), torch.ones(len(targets), 1)
        if rng.random() < 0.5:
            asked, kinds = _pick(targets > 0.5, rng)[:, None], ones
            first = self._decode(image, (asked, kinds), None, None)
            told.append(_best(first, targets))
        else:
            asked, kinds = torch.zeros(len(targets), 0, 2), none
            first = self._decode(image, None, _boxes_of(targets, rng), None)
            told.append(_single(first, targets))
        again = slice(0, stage.corrections)
        low_res = first[0][again, :1].detach()
        wrong, kind = _corrections(low_res[:, 0], targets[again], rng)
        points = torch.cat([asked[again], wrong[:, None]], 1), torch.cat([kinds[again], kind[:, None]], 1)
        told.append(_single(self._decode(image, points, None, low_res), targets[again]))
        if stage.pipeline:
            told.append(_single(self._decode(image, (item.points[:, None], ones), item.boxes, item.masks), targets))
        return told

    def _decode(
        self,
        image: torch.Tensor,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All four masks [P, 4, m, m] and their IoU estimates [P, 4]."""
        prompts, grid = self.model.prompt_encoder, image.shape[-2:]
        sparse, dense = prompts(points, boxes, masks)
        dense = dense if masks is not None else dense[..., : grid[0], : grid[1]]  # one vector everywhere
        decoded: tuple[torch.Tensor, torch.Tensor] = self.model.mask_decoder.predict_masks(
            image, prompts.pe_layer(grid)[None], sparse, dense
        )
        return decoded

    def _remember(self, module: object, inputs: object, output: torch.Tensor) -> None:
        self._qkv = output


def mask_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and dice of each mask: [..., m, m] → [...].

    Cross-entropy is a mean over the mask's box and its surroundings plus one over what is far. As a mean over
    everything it would ask small things for nothing but an empty mask.
    """
    near = _span((targets > 0.5).any(-1))[..., :, None] * _span((targets > 0.5).any(-2))[..., None, :]
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    close, far = ((entropy * part).sum((-2, -1)) / part.sum((-2, -1)).clamp(min=64) for part in (near, 1 - near))
    probability = logits.sigmoid()
    overlap = (probability * targets).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + targets.sum((-2, -1)) + 1)
    return CROSS_ENTROPY * (close + FAR * far) + DICE * dice


def _span(occupied: torch.Tensor) -> torch.Tensor:
    """[..., m] bool → 1 from a margin before the first that is occupied to a margin after the last, else 0."""
    x = occupied.float()
    margin = x.shape[-1] // 16
    x = F.max_pool1d(x.reshape(-1, 1, x.shape[-1]), 2 * margin + 1, 1, margin).reshape(x.shape)
    return x.cummax(-1).values * x.flip(-1).cummax(-1).values.flip(-1)


def measured_iou(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """IoU of masks with what they should be: [..., m, m] → [...]."""
    masks, wanted = logits > 0, targets > 0.5
    return (masks & wanted).sum((-2, -1)) / (masks | wanted).sum((-2, -1)).clamp(min=1)


def _single(decoded: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of the first mask, the one for prompts that leave no doubt."""
    masks, ious = decoded[0][:, 0], decoded[1][:, 0]
    return mask_losses(masks, targets).mean(), F.mse_loss(ious, measured_iou(masks.detach(), targets))


def _best(decoded: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of the best of the three masks for a single point (and of the first, which is asked as well)."""
    masks, ious = decoded
    wanted = targets[:, None].expand_as(masks)
    each = mask_losses(masks, wanted)
    mask = 0.7 * each[:, 1:].min(dim=1).values.mean() + 0.3 * each[:, 0].mean()
    return mask, F.mse_loss(ious, measured_iou(masks.detach(), wanted))


def _boxes_of(targets: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The box that a user may draw around each mask [P, m, m], in SAM's pixels: [P, 4]."""
    cell, boxes = SAM_SIDE / targets.shape[-1], []
    for target in targets.numpy() > 0.5:
        spans = [np.flatnonzero(target.any(axis=axis)) for axis in (0, 1)]  # columns, rows
        low = np.array([span[0] if len(span) else 0 for span in spans])
        high = np.array([span[-1] + 1 if len(span) else target.shape[0] for span in spans])
        slack = rng.normal(0, 0.04, (2, 2)) * (high - low)
        boxes.append(cell * (np.stack([low, high]) + slack).reshape(-1) - 0.5)
    return torch.from_numpy(np.array(boxes, np.float32))


def _corrections(
    logits: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A point where each mask is wrong, and whether it belongs to the region (1) or not (0)."""
    wanted = targets > 0.5
    wrong = (logits > 0) != wanted
    wrong = torch.where(wrong.any(-1).any(-1)[:, None, None], wrong, wanted)
    points = _pick(wrong, rng)
    cells = (points * targets.shape[-1] / SAM_SIDE).long()
    return points, wanted[torch.arange(len(points)), cells[:, 1], cells[:, 0]].float()


def _pick(masks: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A random pixel of each mask [P, m, m], at its centre in SAM's frame: [P, 2]; of an empty mask any pixel."""
    side, points = masks.shape[-1], []
    for mask in masks:
        inside = torch.nonzero(mask.flatten()).flatten()
        at = int(inside[int(rng.integers(len(inside)))]) if len(inside) else int(rng.integers(side * side))
        points.append([(at % side + 0.5) * SAM_SIDE / side - 0.5, (at // side + 0.5) * SAM_SIDE / side - 0.5])
    return torch.tensor(points, dtype=torch.float32)
