"""What `tiny` would reach if its SAM were exact, on drawn scenes. No test: it takes minutes and measures.

    python tests/measure/exact.py demo/tiny [--scenes 30] [--first-seed 1000000]

Mean IoU, coarse and refined, with SAM's answers as they are and with one of them replaced: its affinity by others, some
of them from the label map, and its masks by the exact part of the scene under each prompt's point. Also where the
affinity goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from ovdeploy.export.tiny.sam_affinity import NEAR, _squared_distance
from ovdeploy.export.tiny.sam_coarse import split_parts
from ovdeploy.export.tiny.sam_prompts import CLIP_PATCH, DIMENSIONS, GRID, MASK, _labels_of
from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.backends.base import Session
from ovdeploy.runtime.datasets import ScenesDataset
from ovdeploy.runtime.evaluation.metrics import class_iou, confusion, mean_known
from ovdeploy.runtime.geometry.sam_frame import SamFrame, sam_frame
from ovdeploy.runtime.scenes import ALL_NAMES, FIRST_TEST_SEED

Answer = Callable[[dict, dict, np.ndarray], dict]
"""A stage's outputs, from its feeds, its own outputs and the photo's labels [H, W]."""


class Replaced(Session):
    """A session whose outputs are replaced."""

    def __init__(self, inner: Session, answer: Answer, seen: dict) -> None:
        super().__init__(inner.contract)
        self.inner, self.answer, self.seen = inner, answer, seen

    def _execute(self, feeds):
        return self.answer(feeds, self.inner.run(feeds), self.seen["labels"])


def frame_of(labels: np.ndarray) -> SamFrame:
    """How the photo lies in SAM's square."""
    return sam_frame((labels.shape[0], labels.shape[1]), DIMENSIONS, CLIP_PATCH)


def tokens_of(labels: np.ndarray) -> np.ndarray:
    """The labels of SAM's tokens: [N], −1 in the padding."""
    return _labels_of(labels, frame_of(labels), GRID).numpy().ravel()


def affinity(made: Callable[[np.ndarray], np.ndarray]) -> Answer:
    """The affinity with the weights [N, N] that `made` takes from the tokens' labels [N]."""

    def answer(feeds: dict, outputs: dict, labels: np.ndarray) -> dict:
        tokens = tokens_of(labels)
        rows = made(tokens) * (tokens >= 0) * (tokens >= 0)[:, None]
        return {**outputs, "affinity": (rows / np.maximum(rows.sum(1, keepdims=True), 1e-9)).astype(np.float32)}

    return answer


def same(tokens: np.ndarray) -> np.ndarray:
    """[N, N], whether two tokens share a label."""
    return tokens[:, None] == tokens


def half_itself_half_near(tokens: np.ndarray) -> np.ndarray:
    """[N, N] weights, half of each row's its own, the rest to its name by distance."""
    every = torch.arange(GRID * GRID)
    rows = same(tokens) * np.exp(-_squared_distance(every, every, GRID).numpy() / (2 * NEAR**2))
    return np.eye(len(rows)) + rows / rows.sum(1, keepdims=True)


def exact_masks(feeds: dict, outputs: dict, labels: np.ndarray) -> dict:
    """The part of the scene under each prompt's point, and no doubt of it."""
    parts, (h, w), (vh, vw) = split_parts(labels), labels.shape, frame_of(labels).valid_hw
    logits, step = np.full_like(outputs["low_res_logits"], -10), DIMENSIONS.sam_side // MASK
    for prompt, (x, y) in enumerate(feeds["points"]):
        at = min(h - 1, max(0, int((y + 0.5) * h / vh))), min(w - 1, max(0, int((x + 0.5) * w / vw)))
        size = round(vw / step), round(vh / step)
        shape = cv2.resize((parts.ids == parts.ids[at]).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        logits[prompt, 0, : size[1], : size[0]] = 20 * shape - 10
    return {**outputs, "low_res_logits": logits, "iou": np.ones_like(outputs["iou"])}


def watched(goes: list[np.ndarray]) -> Answer:
    """SAM's own answer; what of each token's affinity is its own, and what its name's, goes to `goes`."""

    def answer(feeds: dict, outputs: dict, labels: np.ndarray) -> dict:
        tokens, rows = tokens_of(labels), outputs["affinity"]
        goes.append(np.stack([np.diag(rows), (rows * same(tokens)).sum(1)])[:, tokens >= 0])
        return outputs

    return answer


REPLACED: dict[str, tuple[str, Answer]] = {
    "affinity: each token itself": ("sam_encoder", affinity(lambda tokens: np.eye(len(tokens)))),
    "affinity: exact, even over a name": ("sam_encoder", affinity(same)),
    "affinity: exact, half itself, half its name nearby": ("sam_encoder", affinity(half_itself_half_near)),
    "masks: exact": ("sam_decoder", exact_masks),
}


def count(segmenters: dict[str, Segmenter], scenes: ScenesDataset, seen: dict) -> dict[str, np.ndarray]:
    """The confusion of the coarse and the refined mask by segmenter: [2, C, C] each."""
    counts = {name: np.zeros((2, len(ALL_NAMES), len(ALL_NAMES)), np.int64) for name in segmenters}
    for sample in map(scenes.read, scenes.names):
        seen["labels"], given = sample.labels, np.array(sample.given)
        for name, segmenter in segmenters.items():
            result = segmenter.segment(sample.photo, segmenter.vocabulary([ALL_NAMES[index] for index in given]))
            masks = (given[mask] for mask in (result.coarse_mask, result.mask))
            counts[name] += np.stack([confusion(sample.labels, mask, len(ALL_NAMES)) for mask in masks])
    return counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=FIRST_TEST_SEED)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    seen: dict = {}
    goes: list[np.ndarray] = []

    def opened(stage: str, answer: Answer) -> Segmenter:
        def wrap(inner: Session) -> Session:
            return Replaced(inner, answer, seen) if inner.contract.stage == stage else inner

        return Segmenter.load(asked.bundle, threads=asked.threads, wrap=wrap)

    variants = {"as it is": ("sam_encoder", watched(goes)), **REPLACED}
    segmenters = {name: opened(*variant) for name, variant in variants.items()}
    counts = count(segmenters, ScenesDataset(asked.scenes, first_seed=asked.first_seed), seen)
    print(f"mean IoU on {asked.scenes} scenes from seed {asked.first_seed}: coarse, refined")
    for name, both in counts.items():
        coarse, refined = (100 * mean_known(class_iou(each)) for each in both)
        print(f"  {name}: {coarse:.1f}, {refined:.1f}")
    own, within = np.concatenate(goes, axis=1)
    print(f"of the affinity {np.median(own):.3f} is a token's own (median), {within.mean():.3f} its name's (mean)")


if __name__ == "__main__":
    main()
