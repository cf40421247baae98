"""A coarse result made of arrays of probabilities, so that any can be tested; in the pipeline it comes from logits."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ovdeploy.runtime.labelling.coarse import Coarse, HalfResolution


class ArrayPlanes:
    """Probabilities [C, H, W], and [C, dh, dw] at half resolution."""

    def __init__(self, probabilities: np.ndarray, halved: np.ndarray) -> None:
        self.probabilities = probabilities
        self.halved = halved

    def part(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        return self.probabilities[index, rows, columns].copy()

    def half(self, index: int) -> np.ndarray:
        return self.halved[index].copy()


def half_of(labels: np.ndarray, halved: np.ndarray) -> HalfResolution:
    """What regions need of labels [dh, dw] and probabilities [C, dh, dw]."""
    own = np.take_along_axis(halved, labels[None].astype(np.intp), axis=0)[0]
    return HalfResolution(np.asarray(labels, np.uint16), own, halved.max(axis=0), halved.max(axis=(1, 2)))


def plain_halves(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels [H, W] and probabilities [C, H, W] at half resolution, by torch: nearest, bilinear."""
    hw = (max(1, labels.shape[0] // 2), max(1, labels.shape[1] // 2))
    nearest = F.interpolate(torch.from_numpy(labels.astype(float))[None, None], hw, mode="nearest")[0, 0]
    planes = F.interpolate(torch.from_numpy(probabilities)[None].double(), hw, mode="bilinear", align_corners=False)[0]
    return nearest.numpy().astype(labels.dtype), planes.numpy().astype(np.float32)


def coarse_of(labels: np.ndarray, probabilities: np.ndarray) -> Coarse:
    """A coarse result with these labels [H, W] and probabilities [C, H, W] float32."""
    half_labels, halved = plain_halves(labels, probabilities)
    planes = ArrayPlanes(probabilities, halved)
    return Coarse(labels, probabilities.max(axis=0), half_of(half_labels, halved), planes)


def likeliest(probabilities: np.ndarray, threshold: float = 0.0) -> Coarse:
    """A coarse result of probabilities [C, H, W] float32, background where none reaches the threshold."""
    labels = probabilities.argmax(axis=0).astype(np.uint16)
    labels[probabilities.max(axis=0) < threshold] = 0
    return coarse_of(labels, probabilities)
