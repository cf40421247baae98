"""Training SAM: masks and their IoU from points, boxes and masks, also such as the pipeline makes, and iterated."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..reference.embed import Upstream
from .dataset import Scenes
from .loop import Task
from .models import build_sam
from .sam_affinity import encoder_losses
from .sam_prompts import MASK, SCALE, Prompted, prompt_scene
from .sam_stages import EASED, FEW, LOOK, RENEWED, stage_of

CROSS_ENTROPY, DICE, IOU = 4.0, 1.0, 1.0


class SamTask(Task):
    """SAM's batches and losses."""

    def __init__(self, model: Upstream, scenes: Scenes) -> None:
        self.model: Upstream = model
        self.scenes = scenes
        self._qkv: torch.Tensor | None = None
        self._kept: dict[tuple[int, bool], torch.Tensor] = {}
        self._quiet_bias()
        model.image_encoder.blocks[-1].attn.qkv.register_forward_hook(self._remember)

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, torch.Tensor]:
        """The weighted losses of a batch, by name."""
        stage = stage_of(step)
        seeds = rng.integers(0, FEW if stage.frozen else len(self.scenes), stage.images) % len(self.scenes)
        batch = []
        for seed in seeds:
            mirrored = bool(rng.random() < 0.5)
            item = prompt_scene(self.scenes[int(seed)], rng, max(1, stage.prompts), mirrored)
            batch.append((item, (int(seed), mirrored)))
        items = [item for item, _ in batch]
        features = torch.cat([self._frozen(*each) for each in batch]) if stage.frozen else self._features(items)
        losses: dict[str, torch.Tensor] = {}
        if not stage.frozen:
            assert self._qkv is not None, "the encoder has just run"
            attention = self.model.image_encoder.blocks[-1].attn
            losses = encoder_losses(attention, self._qkv, features, items, rng, stage.even)
        if not stage.prompts:
            return losses
        pairs = zip(features, items, strict=True)
        told = [each for image, item in pairs for each in self._asked(image[None], item, rng, stage.interactive)]
        masks, ious = zip(*told, strict=True)
        return {"mask": torch.stack(masks).mean(), "iou": IOU * torch.stack(ious).mean(), **losses}

    def pace(self, step: int) -> float:
        """Factor of the learning rate."""
        since = min((step - renewal for renewal in RENEWED if step >= renewal), default=EASED)
        return stage_of(step).pace * min(1.0, (since + 1) / EASED)

    def renewed(self, step: int) -> Iterable[nn.Parameter]:
        """The prompt encoder and the decoder, with new random weights, at the steps RENEWED."""
        if step not in RENEWED:
            return ()
        with torch.random.fork_rng():
            torch.manual_seed(step)
            fresh: Upstream = build_sam()
        parts = [(self.model.prompt_encoder, fresh.prompt_encoder), (self.model.mask_decoder, fresh.mask_decoder)]
        for part, new in parts:
            part.load_state_dict(new.state_dict())
        self._quiet_bias()
        if step == RENEWED[-1]:
            _look_where_prompted(self.model.mask_decoder)
        return [parameter for part, _ in parts for parameter in part.parameters()]

    def _quiet_bias(self) -> None:
        """Mask prompts are thousandths; a bias of the usual size would drown them for long."""
        with torch.no_grad():
            self.model.prompt_encoder.mask_downscaling[0].bias *= SCALE

    def _features(self, items: list[Prompted]) -> torch.Tensor:
        """[B, C, h, w]: what SAM's encoder makes of the images."""
        images = torch.stack([item.image for item in items])
        inside = torch.stack([item.inside for item in items])[:, None]
        features: torch.Tensor = self.model.image_encoder(
            (images - self.model.pixel_mean) / self.model.pixel_std * inside
        )
        return features

    def _frozen(self, item: Prompted, key: tuple[int, bool]) -> torch.Tensor:
        """The same for one image, without gradients, and kept."""
        if key not in self._kept:
            with torch.no_grad():
                self._kept[key] = self._features([item])
        return self._kept[key]

    def _asked(
        self, image: torch.Tensor, item: Prompted, rng: np.random.Generator, interactive: int
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Mask and IoU losses of the pipeline's prompts, of a user's, and of a user's second try."""
        ones = torch.ones(len(item.points), 1)
        everything = self._decode(image, (item.points[:, None], ones), item.boxes, item.masks)
        told = [_single(everything, item.targets)]
        some = slice(0, interactive)
        targets = item.targets[some]
        points = _points_in(targets, rng)
        if rng.random() < 0.5:
            first = self._decode(image, (points[:, None], ones[some]), None, None)
            told.append(_best(first, targets))
            asked, kinds = points[:, None], ones[some]
        else:
            first = self._decode(image, None, item.boxes[some], None)
            told.append(_single(first, targets))
            asked, kinds = torch.zeros(len(points), 0, 2), torch.zeros(len(points), 0)
        low_res = first[0][:, :1].detach()
        wrong, kind = _corrections(low_res[:, 0], targets, rng)
        again = (torch.cat([asked, wrong[:, None]], 1), torch.cat([kinds, kind[:, None]], 1))
        told.append(_single(self._decode(image, again, None, low_res), targets))
        return told

    def _decode(
        self,
        image: torch.Tensor,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All four masks [P, 4, m, m] and their IoU estimates [P, 4]."""
        sparse, dense = self.model.prompt_encoder(points, boxes, masks)
        positions = self.model.prompt_encoder.get_dense_pe()
        masks, iou = self.model.mask_decoder.predict_masks(image, positions, sparse, dense)
        return masks, iou

    def _remember(self, module: object, inputs: object, output: torch.Tensor) -> None:
        self._qkv = output


def _look_where_prompted(decoder: Upstream) -> None:
    """Let prompt tokens and image tokens begin by attending to those at their own place.

    Queries and keys both have the position encoding added. With one projection for both, their product is a similarity
    of places (and of features); with two random ones it is noise, and to find this alone takes SAM many steps.
    """
    blocks = [
        part
        for name, part in decoder.transformer.named_modules()
        if "token_to_image" in name or "image_to_token" in name
    ]
    with torch.no_grad():
        for block in blocks:
            if not hasattr(block, "q_proj"):
                continue
            block.q_proj.weight *= LOOK
            block.k_proj.weight.copy_(block.q_proj.weight)
            block.q_proj.bias.zero_()
            block.k_proj.bias.zero_()


def mask_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and dice of each mask: [..., m, m] → [...]."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((-2, -1))
    probability = logits.sigmoid()
    overlap = (probability * targets).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + targets.sum((-2, -1)) + 1)
    return CROSS_ENTROPY * entropy + DICE * dice


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
    mask = each[:, 1:].min(dim=1).values.mean() + 0.3 * each[:, 0].mean()
    return mask, F.mse_loss(ious, measured_iou(masks.detach(), wanted))


def _points_in(targets: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A random point of each mask [P, m, m], in SAM's pixels: [P, 2]."""
    return _pick(targets > 0.5, rng)


def _corrections(
    logits: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A point where each mask is wrong, and whether it belongs to the region (1) or not (0)."""
    wanted = targets > 0.5
    wrong = (logits > 0) != wanted
    wrong = torch.where(wrong.any(-1).any(-1)[:, None, None], wrong, wanted)
    points = _pick(wrong, rng)
    cells = (points / 4).long()
    return points, wanted[torch.arange(len(points)), cells[:, 1], cells[:, 0]].float()


def _pick(masks: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A random pixel of each mask, at its centre in SAM's frame; of an empty mask any pixel."""
    points = []
    for mask in masks:
        inside = torch.nonzero(mask.flatten()).flatten()
        at = int(inside[int(rng.integers(len(inside)))]) if len(inside) else int(rng.integers(MASK * MASK))
        points.append((4.0 * (at % MASK) + 1.5, 4.0 * (at // MASK) + 1.5))
    return torch.tensor(points)
