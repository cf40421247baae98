"""Prompts for training SAM: the regions of a coarse result, as the pipeline finds them and asks about them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
import torch
import torch.nn.functional as F

from ...runtime.geometry.dimensions import Dimensions
from ...runtime.geometry.sam_frame import SamFrame, sam_frame
from ...runtime.geometry.sizes import nearest_index
from ...runtime.labelling.region_prompts import make_prompts, prompt_sizes
from ...runtime.labelling.regions import NO_REGION, Regions, find_regions
from ...runtime.recipe.parameters import Parameters
from ...runtime.recipe.recipe import load_recipe
from ...runtime.scenes.materials import Rng
from ..models.families import TINY
from ..models.miniature.networks import CONTEXT, SAM_PATCH, SAM_SIDE
from .dataset import Drawn
from .sam_coarse import Parts, draw_coarse, half_resolution, split_parts

GRID = SAM_SIDE // SAM_PATCH
MASK = 4 * GRID
CLIP_PATCH = 8
DIMENSIONS = Dimensions(
    clip_patch=CLIP_PATCH,
    feature_grid=(1, 1),
    embedding=1,
    context_length=CONTEXT,
    sam_side=SAM_SIDE,
    sam_grid=GRID,
)
"""Of these the prompts depend on SAM's sizes and CLIP's patch alone."""
SMALLEST, LEAST = 30.0, 0.2
"""`min_area` and `region_threshold` of training. The recipe's own are tuned when the models are there."""
COVERED = 0.3
"""Share of a part that a region must cover to mean it as well (see `_meant`)."""


class Prompted(NamedTuple):
    """A photo in SAM's frame and prompts for some of its regions."""

    image: torch.Tensor
    """[3, S, S] float32, 0 to 255 inside the photo."""
    inside: torch.Tensor
    """[S, S] float32, 1 where the photo lies."""
    token_labels: torch.Tensor
    """[h, w] int64 label at the centre of each token of SAM's grid; −1 outside the photo."""
    cell_labels: torch.Tensor
    """[m, m] int64, likewise at the centre of each cell of a mask. Of the whole side only."""
    targets: torch.Tensor
    """[P, m, m] float32, share of each low-resolution pixel that belongs to what is meant."""
    points: torch.Tensor
    """[P, 2] x y in SAM's pixels, as the pipeline makes them."""
    boxes: torch.Tensor
    """[P, 4] in SAM's pixels, likewise."""
    masks: torch.Tensor
    """[P, 1, m, m] mask prompts, likewise."""


def prompt_scene(scene: Drawn, rng: Rng, count: int, mirrored: bool) -> Prompted:
    """A scene with the prompts of `count` regions of a coarse result of it (some twice if there are fewer)."""
    photo, labels = scene.photo, scene.labels
    if mirrored:
        photo, labels = photo[:, ::-1], labels[:, ::-1]
    hw = (labels.shape[0], labels.shape[1])
    frame = sam_frame(hw, DIMENSIONS, CLIP_PATCH)
    parts, settings = split_parts(labels), _settings()
    planes = draw_coarse(parts, rng)
    half_hw = (planes.shape[1], planes.shape[2])
    regions = find_regions(half_resolution(planes), settings.region_threshold, settings.min_area)
    prompts = make_prompts(regions, planes.__getitem__, hw, frame, MASK, settings)
    chosen = rng.choice(len(regions), count, replace=len(regions) < count)
    mask_hw = prompt_sizes(hw, half_hw, frame, MASK, settings.as_published)[1]
    targets = np.zeros((count, MASK, MASK), np.float32)
    for target, meant in zip(targets, _meant(parts, regions)[chosen], strict=True):
        shape = meant[parts.ids].astype(np.float32)
        target[: mask_hw[0], : mask_hw[1]] = cv2.resize(shape, mask_hw[::-1], interpolation=cv2.INTER_AREA)
    image, inside = _seen(photo, frame)
    masks = prompts.class_masks[prompts.mask_index[chosen], None]
    arrays = (targets, prompts.points[chosen], prompts.boxes[chosen], masks)
    grids = (_labels_of(labels, frame, side) for side in (GRID, MASK))
    return Prompted(image, inside, *grids, *(torch.from_numpy(array) for array in arrays))


def halved(item: Prompted) -> Prompted:
    """The same as SAM sees it at half the side. Points and boxes stay in the pixels of the whole side."""
    pooled = [F.avg_pool2d(part[None], 2)[0] for part in (item.image, item.inside[None], item.targets)]
    masks = F.avg_pool2d(item.masks, 2)
    return item._replace(
        image=pooled[0], inside=pooled[1][0], token_labels=item.token_labels[1::2, 1::2], targets=pooled[2], masks=masks
    )


@cache
def _settings() -> Parameters:
    return msgspec.structs.replace(load_recipe(TINY).parameters, min_area=SMALLEST, region_threshold=LEAST)


def _meant(parts: Parts, regions: Regions) -> np.ndarray:
    """Answers that SAM should give to each region's prompts: [R, N] bool, which parts of the scene.

    The part that has most of the region, and those of the same name that the region covers enough of.
    """
    (dh, dw), (h, w), count = regions.ids.shape, parts.ids.shape, len(parts.labels)
    ids = parts.ids[np.ix_(nearest_index(h, dh), nearest_index(w, dw))]
    inside = regions.ids != NO_REGION
    pairs = regions.ids[inside] * count + ids[inside]
    shared = np.bincount(pairs, minlength=len(regions) * count).reshape(len(regions), count)
    most = shared.argmax(axis=1)
    areas = np.maximum(np.bincount(ids.reshape(-1), minlength=count), 1)
    meant = (shared > COVERED * areas) & (parts.labels == parts.labels[most][:, None])
    meant[np.arange(len(regions)), most] = True
    return meant


def _seen(photo: np.ndarray, frame: SamFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """The photo at the top left of SAM's square, and where it lies."""
    h, w = frame.valid_hw
    image, inside = np.zeros((SAM_SIDE, SAM_SIDE, 3), np.float32), torch.zeros(SAM_SIDE, SAM_SIDE)
    image[:h, :w] = cv2.resize(np.ascontiguousarray(photo), (w, h), interpolation=cv2.INTER_LINEAR)
    inside[:h, :w] = 1
    return torch.from_numpy(image).permute(2, 0, 1), inside


def _labels_of(labels: np.ndarray, frame: SamFrame, side: int) -> torch.Tensor:
    """[side, side] int64: labels at the centres of a grid over SAM's frame, −1 where a cell leaves the photo."""
    step = SAM_SIDE // side
    ys, xs = (
        ((np.arange(max(1, valid // step)) + 0.5) * step * size / valid).astype(int)
        for size, valid in zip(labels.shape, frame.valid_hw, strict=True)
    )
    grid = torch.full((side, side), -1)
    grid[: len(ys), : len(xs)] = torch.from_numpy(labels[np.ix_(ys, xs)].astype(np.int64))
    return grid
