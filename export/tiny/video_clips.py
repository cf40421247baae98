"""Clips for training SAM 2: a few frames in a row of a drawn clip, and things to follow in them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ...runtime.scenes.moving import draw_part
from ...runtime.scenes.names import FIRST_TEST_SEED

SIDE, CELL = 128, 4
"""Of the model's square, and pixels of a mask's cell."""

LENGTH, LONGEST_STEP = 20, 2
"""Frames of a whole clip, and frames from one that is seen to the next at most."""

SMALLEST = 6.0
"""Cells that a thing has in the first frame at least."""


class Followed(NamedTuple):
    """T frames as the model sees them, and O things that are in the first."""

    images: torch.Tensor
    """[T, 3, S, S] float32, 0 to 255."""
    targets: torch.Tensor
    """[T, O, m, m] float32, share of each cell that belongs to the thing."""
    sharp: torch.Tensor
    """[O, 1, S, S] float32, 0 or 1: the things in the first frame."""


def some_clip(rng: np.random.Generator, frames: int, things: int) -> Followed:
    """A clip of a training seed, with `things` things to follow (some twice if there are fewer)."""
    while True:
        step = int(rng.integers(1, LONGEST_STEP + 1))
        first = int(rng.integers(0, LENGTH - step * (frames - 1)))
        wanted = range(first, first + step * frames, step)[:frames]
        wanted = wanted[::-1] if rng.random() < 0.3 else wanted
        clip = draw_part(int(rng.integers(0, FIRST_TEST_SEED)), LENGTH, wanted, SIDE)
        turned = slice(None, None, -1 if rng.random() < 0.5 else 1)
        owners, photos = clip.owners[:, :, turned], clip.frames[:, :, turned]
        masks = _squared(np.stack([owners == number for number in range(1, len(clip.names) + 1)], 1))
        targets = F.avg_pool2d(masks, CELL)
        there = np.flatnonzero(targets[0].sum((-2, -1)).numpy() >= SMALLEST)
        if len(there):
            chosen = rng.choice(there, things, replace=len(there) < things)
            return Followed(_images(photos), targets[:, chosen], masks[0, chosen, None])


def _images(photos: np.ndarray) -> torch.Tensor:
    """[T, H, W, 3] uint8 → [T, 3, S, S] float32, each side resized by itself."""
    resized = [cv2.resize(np.ascontiguousarray(photo), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for photo in photos]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float()


def _squared(masks: np.ndarray) -> torch.Tensor:
    """[T, N, H, W] bool → [T, N, S, S] float32, 0 or 1."""
    resized = F.interpolate(torch.from_numpy(masks).float(), (SIDE, SIDE), mode="area")
    return (resized >= 0.5).float()
