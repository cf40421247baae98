"""Coarse results for training SAM: a scene's names, as wrong as CLIP's would be."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...runtime.geometry.sizes import half_size
from ...runtime.labelling.coarse import HalfResolution
from ...runtime.scenes.materials import Rng, noise

CELLS = (11.0, 24.0)
"""Cells of a coarse result along the photo's short side."""
SMEAR = (0.3, 1.1)
"""Standard deviation of its blur, in cells."""
NOISE = (0.1, 0.6)
"""Amplitude of the noise, in shares of a cell."""
SHARPNESS = (4.0, 10.0)
"""Logits of a cell that a name fills, against those of names that are not in it."""
MISTAKEN = 0.3
"""How often a part, or one side of it, is taken for another name of the scene."""
LARGEST_MISTAKE = 0.3
"""Share of the photo above which a part is too plain to be mistaken."""


class Parts(NamedTuple):
    """The connected parts of one name each that a label map consists of."""

    ids: np.ndarray
    """[H, W] int, the part that each pixel belongs to."""
    labels: np.ndarray
    """[N] int, index into `ALL_NAMES`."""


def split_parts(labels: np.ndarray) -> Parts:
    """[H, W] labels → their 8-connected parts."""
    ids = np.zeros(labels.shape, np.int32)
    owners: list[int] = []
    for label in np.unique(labels):
        count, found = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
        inside = found > 0
        ids[inside] = found[inside] + (len(owners) - 1)
        owners += [int(label)] * (count - 1)
    return Parts(ids, np.array(owners))


def draw_coarse(parts: Parts, rng: Rng) -> np.ndarray:
    """A scene as a coarse method may see it: large cells, smeared and noisy, some parts taken for another name.

    Returns:
        [C, dh, dw] float32 probabilities of the names that occur, in their order, at half the photo's size.
    """
    present = np.unique(parts.labels)
    taken = _mistaken(parts, present, rng)
    h, w = taken.shape
    cell = min(h, w) / rng.uniform(*CELLS)
    size = (max(2, round(w / cell)), max(2, round(h / cell)))
    smear, amount, sharpness = (rng.uniform(*span) for span in (SMEAR, NOISE, SHARPNESS))
    dh, dw = half_size((h, w))
    logits = []
    for label in present:
        share = cv2.resize((taken == label).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        share = cv2.GaussianBlur(share, (0, 0), smear)
        share += np.float32(amount) * noise(rng, share.shape, (1.5, 1.5)) * (0.2 + share)
        logits.append(sharpness * cv2.resize(share, (dw, dh), interpolation=cv2.INTER_LINEAR))
    odds = np.exp(np.stack(logits) - np.max(logits, axis=0))
    probabilities: np.ndarray = (odds / odds.sum(axis=0)).astype(np.float32)
    return probabilities


def half_resolution(probabilities: np.ndarray) -> HalfResolution:
    """[C, dh, dw] probabilities as the pipeline finds regions in them."""
    largest = probabilities.max(axis=0)
    return HalfResolution(probabilities.argmax(axis=0), largest, largest, probabilities.max(axis=(1, 2)))


def _mistaken(parts: Parts, present: np.ndarray, rng: Rng) -> np.ndarray:
    """[H, W] labels, some parts or one side of them taken for another name."""
    taken: np.ndarray = parts.labels[parts.ids]
    areas = np.bincount(parts.ids.reshape(-1))
    for part in np.flatnonzero(areas < LARGEST_MISTAKE * taken.size):
        if len(present) < 2 or rng.random() > MISTAKEN:
            continue
        ys, xs = np.nonzero(parts.ids == part)
        angle = rng.uniform(0, 2 * np.pi)
        along = np.cos(angle) * xs + np.sin(angle) * ys
        wrong = along >= np.quantile(along, rng.uniform(0, 0.9))
        taken[ys[wrong], xs[wrong]] = rng.choice(present[present != parts.labels[part]])
    return taken
