"""Losses of SAM's answers: masks, and estimates of their IoU."""

from __future__ import annotations

import torch
import torch.nn.functional as F

CROSS_ENTROPY, DICE, IOU = 2.0, 1.0, 1.0
FAR = 0.5
"""Weight of the cross-entropy far from a mask's box, against that inside and near it."""

Decoded = tuple[torch.Tensor, torch.Tensor]
"""All four masks [P, 4, m, m] of each prompt and their IoU estimates [P, 4]."""


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


def single_losses(decoded: Decoded, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of the first mask, the one for prompts that leave no doubt."""
    masks, ious = decoded[0][:, 0], decoded[1][:, 0]
    return mask_losses(masks, targets).mean(), F.mse_loss(ious, measured_iou(masks.detach(), targets))


def best_losses(decoded: Decoded, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of the best of the three masks for a single point (and of the first, which is asked as well)."""
    mask, error = best_of_each(decoded, targets)
    return mask.mean(), error.mean()


def best_of_each(decoded: Decoded, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `best_losses` is the mean of: two losses of each thing, [O]."""
    masks, ious = decoded
    wanted = targets[:, None].expand_as(masks)
    each = mask_losses(masks, wanted)
    mask = 0.7 * each[:, 1:].min(dim=1).values + 0.3 * each[:, 0]
    return mask, ((ious - measured_iou(masks.detach(), wanted)) ** 2).mean(1)
