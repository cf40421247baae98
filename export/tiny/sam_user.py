"""A user's prompts for training SAM: boxes, points, and points where an answer was wrong."""

from __future__ import annotations

import numpy as np
import torch

from ..models.miniature.networks import SAM_SIDE


def boxes_of(targets: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The box that a user may draw around each mask [P, m, m], in SAM's pixels: [P, 4]."""
    cell, boxes = SAM_SIDE / targets.shape[-1], []
    for target in targets.cpu().numpy() > 0.5:
        spans = [np.flatnonzero(target.any(axis=axis)) for axis in (0, 1)]  # columns, rows
        low = np.array([span[0] if len(span) else 0 for span in spans])
        high = np.array([span[-1] + 1 if len(span) else target.shape[0] for span in spans])
        slack = rng.normal(0, 0.04, (2, 2)) * (high - low)
        boxes.append(cell * (np.stack([low, high]) + slack).reshape(-1) - 0.5)
    return torch.from_numpy(np.array(boxes, np.float32)).to(targets.device)


def corrections(
    logits: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A point where each mask is wrong, and whether it belongs to the region (1) or not (0)."""
    wanted = targets > 0.5
    wrong = (logits > 0) != wanted
    wrong = torch.where(wrong.any(-1).any(-1)[:, None, None], wrong, wanted)
    points = pick(wrong, rng)
    cells = (points * targets.shape[-1] / SAM_SIDE).long()
    return points, wanted[torch.arange(len(points), device=points.device), cells[:, 1], cells[:, 0]].float()


def pick(masks: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A random pixel of each mask [P, m, m], at its centre in SAM's frame: [P, 2]; of an empty mask any pixel."""
    side, points = masks.shape[-1], []
    for mask in masks.cpu():
        inside = torch.nonzero(mask.flatten()).flatten()
        at = int(inside[int(rng.integers(len(inside)))]) if len(inside) else int(rng.integers(side * side))
        points.append([(at % side + 0.5) * SAM_SIDE / side - 0.5, (at // side + 0.5) * SAM_SIDE / side - 0.5])
    return torch.tensor(points, dtype=torch.float32, device=masks.device)
