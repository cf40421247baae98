"""Windows cut from scenes, with a label for every patch."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch

from ...runtime.scenes.captions import NOUNS, captions_of
from ...runtime.scenes.names import ALL_NAMES, STUFF
from ..models.miniature.networks import WINDOW
from .dataset import Scenes

PATCH = 8
GRID = WINDOW // PATCH
MIXED = -1
"""Label of a patch that no name fills."""
MAJORITY = 0.65
SHORT_SIDE = (150.0, 270.0)
"""The scenes' short side at the size that windows are cut from."""
CLOSEST = 96.0
"""The same where nearly the whole scene is in the window; so are WIDE of the windows."""
WIDE = 0.15
IN_SIGHT = 0.04
"""Names that fill less of a window are not in its caption."""
NAMELESS_HUES = ((72.0, 95.0), (165.0, 188.0))
"""Degrees between those of the named colours: lime and cyan. (Between purple and pink there is no room.)"""


class Crops(NamedTuple):
    """A batch of windows."""

    windows: torch.Tensor
    """[B, 3, c, c] float32 RGB in [0, 1]."""
    labels: torch.Tensor
    """[B, N] int64, index into `ALL_NAMES`, or MIXED."""
    captions: list[str]


def cut_crops(scenes: Scenes, rng: np.random.Generator, count: int, recolour: int = 0) -> Crops:
    """Cut windows of random scenes at random sizes and places, half of them mirrored; the last ones `recoloured`."""
    windows, labels, captions = [], [], []
    for number, seed in enumerate(rng.integers(0, len(scenes), count)):
        photo, names, _ = scenes[int(seed)]
        window, label = cut_window(photo, names, rng)
        windows.append(window if number < count - recolour else recoloured(window, rng))
        labels.append(majority_labels(label))
        captions.append(_caption(label, rng))
    pixels = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float() / 255
    return Crops(pixels, torch.from_numpy(np.stack(labels)), captions)


def recoloured(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The window [c, c, 3] uint8 in one hue that no name has, paled towards grey by chance."""
    rgb = window.astype(np.float32) / 255
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = rng.uniform(*NAMELESS_HUES[rng.integers(len(NAMELESS_HUES))])
    vivid, grey = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None]
    mixed: np.ndarray = np.round(255 * (vivid + rng.uniform() * (grey - vivid))).astype(np.uint8)
    return mixed


def cut_window(photo: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A window of random size and place, mirrored by chance: [c, c, 3] pixels and [c, c] labels."""
    h, w = labels.shape
    short = rng.uniform(CLOSEST, SHORT_SIDE[0]) if rng.random() < WIDE else rng.uniform(*SHORT_SIDE)
    side = min(round(WINDOW * min(h, w) / short), h, w)
    top, left = int(rng.integers(0, h - side + 1)), int(rng.integers(0, w - side + 1))
    where = np.s_[top : top + side, left : left + side]
    window = cv2.resize(photo[where], (WINDOW, WINDOW), interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(labels[where], (WINDOW, WINDOW), interpolation=cv2.INTER_NEAREST)
    return (window[:, ::-1], label[:, ::-1]) if rng.random() < 0.5 else (window, label)


def majority_labels(labels: np.ndarray) -> np.ndarray:
    """[c, c] labels of pixels → [N] int64 labels of patches; MIXED where the commonest fills too little."""
    patches = labels.reshape(GRID, PATCH, GRID, PATCH).transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
    present = np.unique(patches)
    counts = (patches[:, :, None] == present).sum(axis=1)
    winners = present[counts.argmax(axis=1)].astype(np.int64)
    return np.where(counts.max(axis=1) >= MAJORITY * PATCH * PATCH, winners, MIXED)


def _caption(labels: np.ndarray, rng: np.random.Generator) -> str:
    share = np.bincount(labels.reshape(-1), minlength=len(ALL_NAMES)) / labels.size
    present = [ALL_NAMES[index] for index in np.flatnonzero(share > IN_SIGHT)]
    things = [(name, str(rng.choice(NOUNS))) for name in present if name not in STUFF]
    return captions_of(rng, things, [name for name in present if name in STUFF], 1)[0]
