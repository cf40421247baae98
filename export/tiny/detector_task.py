"""Training what stands behind the miniature CLIP in an OWLv2, the CLIP staying as it is.

A patch in whose middle a thing is seen answers for that thing: its box is the thing's, and its score for the thing's
name is the IoU that the box has ("VarifocalNet", Zhang et al., CVPR 2021, without its weights for negatives). All names
that are not held out are asked about in every scene, stuff too, which is no thing anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torchvision.ops import box_iou, generalized_box_iou_loss

from ...runtime.pipelines.grounded.squares import square_image
from ...runtime.scenes.names import ALL_NAMES, SEEN, STUFF, THINGS
from ...runtime.words.tokenizer import ClipTokenizer
from ..models.detector.owlv2 import BUILDS, Behind, Owlv2
from ..reference.embed import Upstream
from ..reference.grounded.owl_detector import OwlDetector
from .dataset import Scenes
from .device import device_of, moved
from .loop import Losses, Part, Task

MODEL = "tiny_owlv2"
BATCH, SMALLEST = 8, 24
"""Scenes of a batch, and pixels of the smallest thing that counts."""
ASKED = np.array([ALL_NAMES.index(name) for name in (*SEEN, *STUFF)])
GREY = 0.5
SCALE, SHIFT = 9.0, -0.6
"""Biases that logits begin with: no box is sure of any word."""


class Seen(NamedTuple):
    """A scene as the detector sees it, and what is true of it."""

    image: torch.Tensor
    """[1, 3, S, S] float32."""
    at: torch.Tensor
    """[P] int64, the patches that answer for things."""
    names: torch.Tensor
    """[P] int64, position of the thing's name in `ASKED`."""
    boxes: torch.Tensor
    """[P, 4] float32, x₀ y₀ x₁ y₁ of the thing as shares of the square."""


class DetectorTask(Task):
    """Batches and losses of the blocks and the heads."""

    def __init__(self, behind: Behind, clip: Upstream, scenes: Scenes, tokenizer: ClipTokenizer) -> None:
        row = BUILDS[MODEL]
        clip.eval().requires_grad_(False)
        self.scenes, self.device = scenes, device_of(behind)
        torch.nn.init.constant_(behind.class_head.logit_scale.bias, SCALE)
        torch.nn.init.constant_(behind.class_head.logit_shift.bias, SHIFT)
        self.model = OwlDetector(Owlv2(clip, behind, row.side)).to(self.device)
        self.side, self.grid = row.side, row.side // row.patch
        said = [[template(ALL_NAMES[index]) for template in OPENAI_IMAGENET_TEMPLATES] for index in ASKED]
        with torch.no_grad():
            rows = [clip.encode_text(torch.from_numpy(tokenizer(each)).long().to(self.device)) for each in said]
        self.words = F.normalize(torch.stack(rows), dim=-1)

    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """One for each scene."""
        return [partial(self.losses, np.random.default_rng(seed)) for seed in rng.integers(0, 1 << 62, BATCH)]

    def losses(self, rng: np.random.Generator) -> Losses:
        """The losses of a scene."""
        photo, labels, _ = self.scenes[int(rng.integers(0, len(self.scenes)))]
        if rng.random() < 0.5:
            photo, labels = photo[:, ::-1], labels[:, ::-1]
        seen = moved(see(photo, labels, self.side, self.grid), self.device)
        rows, shift, scale, boxes, objectness = self.model(seen.image)
        text = self.words[:, int(rng.integers(0, self.words.shape[1]))]
        logits = (rows[0] @ text.T + shift[0, :, None]) * scale[0, :, None]
        count = max(1, len(seen.at))
        came, true = corners(boxes[0])[seen.at], seen.boxes
        quality = box_iou(came.detach(), true).diagonal().clamp(0.05, 1)
        target = torch.zeros_like(logits)
        target[seen.at, seen.names] = quality
        weight = (target - logits.detach().sigmoid()).abs() ** 2
        named = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum") / count
        found = F.binary_cross_entropy_with_logits(objectness[0], target.amax(dim=1))
        return {
            "names": 2 * named,
            "edges": 5 * (came - true).abs().sum() / (4 * count),
            "boxes": generalized_box_iou_loss(came, true, reduction="sum") / count,
            "objects": 0.2 * found,
        }


def see(photo: np.ndarray, labels: np.ndarray, side: int, grid: int) -> Seen:
    """A scene [H, W, 3] with labels [H, W], for a detector with a square of that side and so many patches along it."""
    longest = max(labels.shape)
    middles = ((np.arange(grid) + 0.5) * longest / grid).astype(np.intp)
    names = np.full((grid, grid), -1)
    boxes = np.zeros((grid, grid, 4), np.float32)
    rows, columns = (middles[middles < extent] for extent in labels.shape)
    for index, mask in things_in(labels):
        mine = np.zeros((grid, grid), bool)
        mine[: len(rows), : len(columns)] = mask[np.ix_(rows, columns)]
        names[mine] = int(np.flatnonzero(index == ASKED)[0])
        y, x = np.nonzero(mask)
        boxes[mine] = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / longest
    image = square_image(np.ascontiguousarray(photo), side, GREY)
    at = np.flatnonzero(names.reshape(-1) >= 0)
    parts = (image, at, names.reshape(-1)[at], boxes.reshape(-1, 4)[at])
    return Seen(*(torch.from_numpy(part) for part in parts))


def things_in(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The things of a scene that are asked about: connected parts of a name, as `Result.instances` has them.

    Args:
        labels: [H, W] uint8, index into `ALL_NAMES`.

    Yields:
        An index, and [H, W] bool.
    """
    for index in np.intersect1d(labels, ASKED[len(THINGS) > ASKED]):
        count, numbers = cv2.connectedComponents((labels == index).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            if (mask := numbers == number).sum() >= SMALLEST:
                yield int(index), mask


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """[N, 4] centre x, centre y, width, height → x₀ y₀ x₁ y₁."""
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
