"""Prompts for training SAM: regions of a scene, and what a coarse mask would have said of them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch

from ...runtime.scenes.materials import Rng, noise
from ...runtime.scenes.names import ALL_NAMES, STUFF
from .dataset import Drawn
from .models import SAM_PATCH, SAM_SIDE

MASK = SAM_SIDE // 4
GRID = SAM_SIDE // SAM_PATCH
SMALLEST = 120
"""Pixels of the photo that a region needs to be asked for."""
CELLS = (16.0, 32.0)
"""Cells of a simulated coarse mask along the photo's short side."""
THRESHOLD, SCALE = 0.2, 0.005
"""The recipe's `region_threshold` and `mask_prompt_scale`."""


class Prompted(NamedTuple):
    """A photo in SAM's frame and prompts for some of its regions."""

    image: torch.Tensor
    """[3, S, S] float32, 0 to 255 inside the photo."""
    inside: torch.Tensor
    """[S, S] bool, where the photo lies."""
    token_labels: torch.Tensor
    """[h, w] int64 label at the centre of each token of SAM's grid; −1 outside the photo."""
    targets: torch.Tensor
    """[P, m, m] float32, share of each low-resolution pixel that the region covers."""
    points: torch.Tensor
    """[P, 2] x y in SAM's pixels."""
    boxes: torch.Tensor
    """[P, 4] in SAM's pixels."""
    masks: torch.Tensor
    """[P, 1, m, m] mask prompts as the pipeline makes them."""


def prompt_scene(scene: Drawn, rng: Rng, count: int, mirrored: bool) -> Prompted:
    """A scene with prompts for `count` regions (some twice if there are fewer)."""
    photo, labels = scene.photo, scene.labels
    if mirrored:
        photo, labels = photo[:, ::-1], labels[:, ::-1]
    scale = SAM_SIDE / max(labels.shape)
    h, w = (int(n * scale + 0.5) for n in labels.shape)
    image = np.zeros((SAM_SIDE, SAM_SIDE, 3), np.float32)
    image[:h, :w] = cv2.resize(np.ascontiguousarray(photo), (w, h), interpolation=cv2.INTER_LINEAR)
    inside = np.zeros((SAM_SIDE, SAM_SIDE), bool)
    inside[:h, :w] = True
    told = [_prompt(mask, labels == label, rng, (h, w)) for label, mask in _regions(labels, rng, count)]
    targets, points, boxes, masks = (torch.from_numpy(np.stack(part)) for part in zip(*told, strict=True))
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    return Prompted(pixels, torch.from_numpy(inside), _token_labels(labels, (h, w)), targets, points, boxes, masks)


def _regions(labels: np.ndarray, rng: Rng, count: int) -> list[tuple[int, np.ndarray]]:
    """Connected regions of one name each: label and mask; things twice as often as stuff."""
    found, weights = [], []
    for label in np.unique(labels):
        parts, components, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
        for number in range(1, parts):
            if stats[number, cv2.CC_STAT_AREA] >= SMALLEST:
                found.append((int(label), components == number))
                weights.append(1.0 if ALL_NAMES[label] in STUFF else 2.0)
    share = np.array(weights) / sum(weights)
    chosen = rng.choice(len(found), count, replace=len(found) < count, p=share)
    return [found[index] for index in chosen]


def _prompt(mask: np.ndarray, of_class: np.ndarray, rng: Rng, frame: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Target, point, box and mask prompt of a region."""
    coarse = _coarse(of_class, rng)
    region = _best_component(coarse > 0.5, mask)
    if region is None:
        coarse = of_class.astype(np.float32)
        region = mask
    probability = coarse * np.float32(rng.uniform(0.45, 1.0))
    ys, xs = np.nonzero(region)
    scale = np.array([frame[1] / mask.shape[1], frame[0] / mask.shape[0]])
    at = int((probability[ys, xs] + 1e-3 * rng.random(len(ys))).argmax())
    point = np.array([xs[at], ys[at]]) * scale
    box = np.array([xs.min(), ys.min(), xs.max(), ys.max()]) * np.tile(scale, 2)
    size = (max(1, frame[1] // 4), max(1, frame[0] // 4))
    target, prompt = np.zeros((2, MASK, MASK), np.float32)
    target[: size[1], : size[0]] = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    resized = cv2.resize(probability, size, interpolation=cv2.INTER_LINEAR)
    prompt[: size[1], : size[0]] = np.where(resized > THRESHOLD, resized * SCALE, 0)
    return target, point.astype(np.float32), box.astype(np.float32), prompt[None]


def _coarse(of_class: np.ndarray, rng: Rng) -> np.ndarray:
    """[H, W] what a coarse method may think of a class: large cells, soft and wrong edges, sometimes a part missing."""
    h, w = of_class.shape
    cell = min(h, w) / rng.uniform(*CELLS)
    size = (max(2, round(w / cell)), max(2, round(h / cell)))
    cells = cv2.resize(of_class.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    cells = cv2.GaussianBlur(cells, (0, 0), rng.uniform(0.3, 1.0))
    cells += rng.uniform(0.0, 0.3) * noise(rng, cells.shape, (2.5, 2.5)) * (0.3 + cells)
    coarse = cv2.resize(cells, (w, h), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        angle = rng.uniform(0, 2 * np.pi)
        ys, xs = np.nonzero(of_class)
        middle = (np.cos(angle) * x + np.sin(angle) * y)[ys, xs].mean()
        coarse = np.where(np.cos(angle) * x + np.sin(angle) * y > middle + rng.uniform(-0.1, 0.2), 0.1, coarse)
    clipped: np.ndarray = np.clip(coarse, 0, 1).astype(np.float32)
    return clipped


def _best_component(coarse: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """The connected part of a coarse mask that has most of the region; None if it is not the region that it has."""
    _, components = cv2.connectedComponents(coarse.astype(np.uint8), connectivity=8)
    overlap = np.bincount(components[mask])
    overlap[0] = 0
    best = int(overlap.argmax())
    chosen: np.ndarray = components == best
    return chosen if overlap[best] > 0.5 * chosen.sum() and overlap[best] > 0.2 * mask.sum() else None


def _token_labels(labels: np.ndarray, frame: tuple[int, int]) -> torch.Tensor:
    h, w = (max(1, n // SAM_PATCH) for n in frame)
    ys = ((np.arange(h) + 0.5) * SAM_PATCH * labels.shape[0] / frame[0]).astype(int)
    xs = ((np.arange(w) + 0.5) * SAM_PATCH * labels.shape[1] / frame[1]).astype(int)
    tokens = torch.full((GRID, GRID), -1)
    tokens[:h, :w] = torch.from_numpy(labels[np.ix_(ys, xs)].astype(np.int64))
    return tokens
