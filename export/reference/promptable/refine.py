"""Refinement in its plain form: one mask a region, one array a class (S2CLIP, Algorithms 2 and 4)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ....runtime.geometry.sizes import HW, round_half_up
from ....runtime.recipe.parameters import RefinementParameters


class PlainRegion(NamedTuple):
    """One connected component of one class, at half resolution."""

    class_index: int
    mask: np.ndarray
    """[dh, dw] bool."""
    box_xyxy: tuple[int, int, int, int]
    score: float
    point_xy: tuple[int, int]


class Prompted(NamedTuple):
    """Regions and what SAM's decoder made of them."""

    regions: list[PlainRegion]
    low_res: torch.Tensor
    """[R, 1, m, m] logits."""
    iou: torch.Tensor
    """[R]."""


def find_regions(labels: np.ndarray, probabilities: np.ndarray, settings: RefinementParameters) -> list[PlainRegion]:
    """Algorithm 2, with OpenCV's labels, put in the order of their first pixels.

    Args:
        labels: [dh, dw] class index.
        probabilities: [C, dh, dw].
        settings: `region_threshold`, `min_area` and `split_regions` are used.
    """
    certain = probabilities.max(axis=0) >= settings.region_threshold
    regions = []
    for index, probability in enumerate(probabilities):
        if probability.max() < settings.region_threshold:
            continue
        members = (labels == index) & certain
        masks = [members] if members.any() else []
        if settings.split_regions:
            count, components = cv2.connectedComponents(members.astype(np.uint8), connectivity=8)
            masks = [components == number for number in range(1, count)]
        for mask in sorted(masks, key=lambda m: int(np.flatnonzero(m)[0])):
            if mask.sum() >= settings.min_area:
                regions.append(_describe(index, mask, probability))
    return regions


def _describe(index: int, mask: np.ndarray, probability: np.ndarray) -> PlainRegion:
    ys, xs = np.nonzero(mask)
    box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))
    y, x = divmod(int(np.where(mask, probability, -1).argmax()), mask.shape[1])
    return PlainRegion(index, mask, box, float(probability[mask].mean(dtype=np.float64)), (x, y))


def prompts_for(
    regions: list[PlainRegion],
    halves: torch.Tensor,
    photo_hw: HW,
    valid_hw: HW,
    side: int,
    settings: RefinementParameters,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points [R, 2], boxes [R, 4] and mask prompts [R, 1, m, m] in SAM's frame.

    Args:
        regions: at least one.
        halves: [C, dh, dw] probabilities.
        photo_hw: the photo's size.
        valid_hw: the size of the photo in SAM's frame.
        side: S, side of SAM's frame; m = S/4.
        settings: `region_threshold`, `mask_prompt_scale` and `as_published` are used.
    """
    dh, dw = halves.shape[1:]
    frame_h, frame_w = valid_hw
    mask_h, mask_w = (max(1, round_half_up(n / 4)) for n in valid_hw)
    if settings.as_published:
        k, m = side / max(dh, dw), side / 4 / max(photo_hw)
        frame_h, frame_w = (max(1, round_half_up(n * k)) for n in (dh, dw))
        mask_h, mask_w = (max(1, round_half_up(n * m)) for n in photo_hw)
    scale = torch.tensor([frame_w / dw, frame_h / dh], dtype=torch.float64)
    points = torch.tensor([region.point_xy for region in regions]) * scale
    boxes = torch.tensor([region.box_xyxy for region in regions]) * scale.repeat(2)
    chosen = halves[[region.class_index for region in regions]][:, None]
    resized = F.interpolate(chosen, (mask_h, mask_w), mode="bilinear", align_corners=False)
    masks = torch.where(resized > settings.region_threshold, resized * settings.mask_prompt_scale, 0.0)
    masks = F.pad(masks, (0, side // 4 - mask_w, 0, side // 4 - mask_h))
    return points.float(), boxes.float(), masks


def merge_masks(
    coarse: np.ndarray,
    probabilities: torch.Tensor,
    prompted: Prompted,
    seen: torch.Tensor,
    settings: RefinementParameters,
) -> tuple[np.ndarray, np.ndarray]:
    """The refined labels and scores, each [H, W].

    Args:
        coarse: [H, W] class index.
        probabilities: [C, H, W].
        prompted: the regions and the decoder's output.
        seen: [R, 1, h, w], the decoder's logits on the photo that SAM saw, each side a multiple of the patch.
        settings: `iou_threshold` and `as_published` are used.
    """
    hw = (coarse.shape[0], coarse.shape[1])
    valid = prompted.iou > settings.iou_threshold
    if not valid.any():
        return coarse, probabilities.amax(dim=0).numpy()
    logits = F.interpolate(seen, hw, mode="bilinear", align_corners=False)[:, 0]
    scores = torch.zeros_like(probabilities)
    for index in range(len(probabilities)):
        members = [r for r, region in enumerate(prompted.regions) if region.class_index == index and valid[r]]
        if members:
            inside = (logits[members] > 0).any(dim=0)
            best = logits[members].sigmoid().amax(dim=0)
            scores[index] = torch.where(inside, probabilities[index] * best, 0.0)
    refined = scores.argmax(dim=0)
    labels = torch.where(scores.amax(dim=0) > 0, refined, torch.from_numpy(coarse))
    failed = [region.mask for r, region in enumerate(prompted.regions) if not valid[r]]
    if failed:
        union = torch.from_numpy(np.any(failed, axis=0))[None, None].float()
        inside = F.interpolate(union, hw, mode="nearest")[0, 0] > 0
        beaten = inside & (probabilities.amax(dim=0) > scores.amax(dim=0))
        scores = torch.where(inside, torch.maximum(scores, probabilities), scores)
        if not settings.as_published:
            labels = torch.where(beaten, torch.from_numpy(coarse), labels)
    return labels.numpy(), scores.amax(dim=0).numpy()
