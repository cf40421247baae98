"""Training SAM: masks and their IoU from points, boxes and masks, also such as the pipeline makes, and iterated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import nn

from ..reference.embed import Upstream
from .contrast import dense_contrast
from .dataset import Scenes
from .loop import Task
from .models import build_sam
from .sam_prompts import GRID, MASK, SCALE, Prompted, prompt_scene


class Stage(NamedTuple):
    """What is trained until a step."""

    until: float
    images: int
    """Of a batch."""
    prompts: int
    """Of an image, as the pipeline makes them; 0 trains the encoder alone."""
    interactive: int = 0
    """Those of them that are asked again as a user would."""
    even: bool = False
    """Whether the tokens that are compared are as many of every name, so that stuff does not outvote things."""
    pace: float = 1.0
    """Factor of the learning rate."""
    frozen: bool = False
    """Whether the encoder stays as it is: then its features are computed once, and only for the first FEW scenes."""


STAGES = (
    Stage(150, images=3, prompts=0),
    Stage(400, images=2, prompts=6, interactive=2),
    Stage(480, images=3, prompts=0, even=True),
    Stage(700, images=2, prompts=6, interactive=2, pace=2.5, frozen=True),
    Stage(math.inf, images=1, prompts=8, interactive=2, even=True, pace=1.25),
)
RENEWED = (480, 1000)
"""Steps at which the decoder begins anew: before, it has only learnt to copy its mask prompt."""
EASED = 60
"""Steps in which the pace rises again then."""
LOOK = 3.0
"""Gain of the decoder's cross-attention at its start (see `_look_where_prompted`)."""
FEW = 400
CROSS_ENTROPY, DICE, IOU, FEATURES, VALUES, ATTENTION = 4.0, 1.0, 1.0, 0.3, 0.3, 0.1
SAMPLED = 256
"""Tokens of an image that are compared with each other."""


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
        stage = _stage(step)
        seeds = rng.integers(0, FEW if stage.frozen else len(self.scenes), stage.images) % len(self.scenes)
        batch = []
        for seed in seeds:
            mirrored = bool(rng.random() < 0.5)
            item = prompt_scene(self.scenes[int(seed)], rng, max(1, stage.prompts), mirrored)
            batch.append((item, (int(seed), mirrored)))
        items = [item for item, _ in batch]
        features = torch.cat([self._frozen(*each) for each in batch]) if stage.frozen else self._features(items)
        losses = {} if stage.frozen else self._encoder_losses(features, items, rng, stage.even)
        if not stage.prompts:
            return losses
        pairs = zip(features, items, strict=True)
        told = [each for image, item in pairs for each in self._asked(image[None], item, rng, stage.interactive)]
        masks, ious = zip(*told, strict=True)
        return {"mask": torch.stack(masks).mean(), "iou": IOU * torch.stack(ious).mean(), **losses}

    def pace(self, step: int) -> float:
        """Factor of the learning rate."""
        since = min((step - renewal for renewal in RENEWED if step >= renewal), default=EASED)
        return _stage(step).pace * min(1.0, (since + 1) / EASED)

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

    def _encoder_losses(
        self, features: torch.Tensor, batch: list[Prompted], rng: np.random.Generator, even: bool
    ) -> dict[str, torch.Tensor]:
        """Tokens of one name are alike and others are not: in the features, and where the affinity is read.

        The affinity is the last block's attention where its values are alike; so values are compared in every head, and
        attention should stay within a name.
        """
        assert self._qkv is not None
        attention = self.model.image_encoder.blocks[-1].attn
        qkv = self._qkv.reshape(len(batch), GRID * GRID, 3, attention.num_heads, -1)
        told: dict[str, list[torch.Tensor]] = {"features": [], "values": [], "attention": []}
        for item, feature, tokens in zip(batch, features.flatten(2).transpose(1, 2), qkv, strict=True):
            every = item.token_labels.flatten()
            chosen = _tokens(every, rng, even)
            keys = torch.nonzero(every >= 0).flatten() if even else chosen
            scores = _scores(attention, tokens, chosen, keys, positions=even)  # [heads, n, k]
            within = scores.masked_fill(every[chosen][:, None] != every[keys], float("-inf")).logsumexp(-1)
            told["features"].append(_contrast(feature[chosen][None], every[chosen]))
            told["values"].append(_contrast(tokens[chosen, 2].transpose(0, 1), every[chosen]))
            told["attention"].append((scores.logsumexp(-1) - within).mean())
        weights = {"features": FEATURES, "values": VALUES, "attention": (3 if even else 1) * ATTENTION}
        return {name: weights[name] * torch.stack(parts).mean() for name, parts in told.items()}


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


def _stage(step: int) -> Stage:
    return next(stage for stage in STAGES if step < stage.until)


def _tokens(labels: torch.Tensor, rng: np.random.Generator, even: bool) -> torch.Tensor:
    """Some tokens of the photo: each as probable as any other, or each name as probable as any other."""
    valid = torch.nonzero(labels >= 0).flatten().numpy()
    if not even:
        return torch.from_numpy(rng.choice(valid, min(SAMPLED, len(valid)), replace=False))
    chances = 1 / np.bincount(labels[valid].numpy())[labels[valid].numpy()]
    return torch.from_numpy(rng.choice(valid, SAMPLED, p=chances / chances.sum()))


def _scores(
    attention: Upstream, qkv: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, positions: bool
) -> torch.Tensor:
    """What SAM's attention takes the softmax of, for some queries and keys: [heads, n, k].

    Args:
        attention: the module.
        qkv: [N, 3, heads, d].
        rows: the queries' tokens.
        columns: the keys' tokens.
        positions: whether SAM's relative positions are added.
    """
    queries, keys = qkv[rows, 0].transpose(0, 1), qkv[columns, 1].transpose(0, 1)
    scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
    if not positions:
        return scores
    tables = (attention.rel_pos_h, rows // GRID, columns // GRID), (attention.rel_pos_w, rows % GRID, columns % GRID)
    for table, at, to in tables:
        along = torch.einsum("hnd,nkd->hnk", queries, get_rel_pos(GRID, GRID, table)[at])  # to each row or column
        scores = scores + along[:, :, to]
    return scores


def _contrast(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The dense contrastive loss of vectors [B, n, d] that share their labels [n]."""
    parts = dense_contrast(F.normalize(vectors, dim=-1), labels.expand(len(vectors), -1))
    return torch.stack(list(parts.values())).sum()


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
