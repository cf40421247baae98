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

from ovdeploy.export.tiny.sam_coarse import split_parts
from ovdeploy.export.tiny.sam_prompts import CLIP_PATCH, DIMENSIONS, GRID, MASK, _labels_of
from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.plan import sam_frame
from ovdeploy.runtime.scenes import ALL_NAMES, FIRST_TEST_SEED, STUFF, Scene, draw_scene
from ovdeploy.runtime.sessions import Session

NEAR = 4.0
"""Standard deviation of what is near, in tokens."""
Answer = Callable[[dict, dict, Scene], dict]
"""A stage's outputs, from its feeds, its own outputs and the scene."""


class Replaced(Session):
    """A session whose outputs are replaced."""

    def __init__(self, inner: Session, answer: Answer, seen: dict) -> None:
        super().__init__(inner.contract)
        self.inner, self.answer, self.seen = inner, answer, seen

    def _execute(self, feeds):
        return self.answer(feeds, self.inner.run(feeds), self.seen["scene"])


def affinity(made: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Answer:
    """`made` takes SAM's affinity [N, N] and the tokens' labels [N], −1 in the padding."""

    def answer(feeds: dict, outputs: dict, scene: Scene) -> dict:
        labels = _labels_of(scene.labels, sam_frame(scene.labels.shape, DIMENSIONS, CLIP_PATCH), GRID).numpy().ravel()
        rows = made(outputs["affinity"], labels) * (labels >= 0) * (labels >= 0)[:, None]
        return {**outputs, "affinity": (rows / np.maximum(rows.sum(1, keepdims=True), 1e-9)).astype(np.float32)}

    return answer


def fall() -> np.ndarray:
    """[N, N] weight by distance."""
    y, x = np.divmod(np.arange(GRID * GRID), GRID)
    return np.exp(-((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / (2 * NEAR**2))


def same(labels: np.ndarray) -> np.ndarray:
    """[N, N], whether two tokens share a label."""
    return labels[:, None] == labels


def half_itself(rows: np.ndarray) -> np.ndarray:
    """[N, N] weights, half of each row's moved to itself."""
    return np.eye(len(rows)) + rows / np.maximum(rows.sum(1, keepdims=True), 1e-9)


def exact_masks(feeds: dict, outputs: dict, scene: Scene) -> dict:
    """The part of the scene under each prompt's point, and no doubt of it."""
    parts, (h, w) = split_parts(scene.labels), scene.labels.shape
    vh, vw = sam_frame((h, w), DIMENSIONS, CLIP_PATCH).valid_hw
    logits, step = np.full_like(outputs["low_res_logits"], -10), DIMENSIONS.sam_side // MASK
    for prompt, (x, y) in enumerate(feeds["points"]):
        at = min(h - 1, max(0, int((y + 0.5) * h / vh))), min(w - 1, max(0, int((x + 0.5) * w / vw)))
        size = round(vw / step), round(vh / step)
        shape = cv2.resize((parts.ids == parts.ids[at]).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        logits[prompt, 0, : size[1], : size[0]] = 20 * shape - 10
    return {**outputs, "low_res_logits": logits, "iou": np.ones_like(outputs["iou"])}


AS_IT_IS = "as it is"
VARIANTS: dict[str, tuple[str, Answer] | None] = {
    AS_IT_IS: None,
    "affinity: each token itself": ("sam_encoder", affinity(lambda rows, labels: np.eye(len(rows)))),
    "affinity: exact, even over a name": ("sam_encoder", affinity(lambda rows, labels: same(labels))),
    "affinity: exact, half itself, half its name nearby": (
        "sam_encoder",
        affinity(lambda rows, labels: half_itself(same(labels) * fall())),
    ),
    "masks: exact": ("sam_decoder", exact_masks),
}


def mean_iou(confusion: np.ndarray) -> float:
    """Over the names that occur."""
    occurs = confusion.sum(1) > 0
    hits, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return 100 * float((hits[occurs] / union[occurs]).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=FIRST_TEST_SEED)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    seen: dict = {"goes": []}

    def watched(feeds: dict, outputs: dict, scene: Scene) -> dict:
        labels = _labels_of(scene.labels, sam_frame(scene.labels.shape, DIMENSIONS, CLIP_PATCH), GRID).numpy().ravel()
        rows, valid = outputs["affinity"], labels >= 0
        seen["goes"].append(np.stack([np.diag(rows), (rows * same(labels)).sum(1)])[:, valid])
        return outputs

    def opened(stage: str, answer: Answer) -> Segmenter:
        wrap = lambda inner: Replaced(inner, answer, seen) if inner.contract.stage == stage else inner  # noqa: E731
        return Segmenter.load(asked.bundle, threads=asked.threads, wrap=wrap)

    segmenters = {name: opened(*(variant or ("sam_encoder", watched))) for name, variant in VARIANTS.items()}
    counts = {name: np.zeros((2, len(ALL_NAMES), len(ALL_NAMES)), int) for name in VARIANTS}
    for seed in range(asked.first_seed, asked.first_seed + asked.scenes):
        scene = seen["scene"] = draw_scene(seed)
        given = [name for name in ALL_NAMES if name in scene.names or name in STUFF]
        index = np.array([ALL_NAMES.index(name) for name in given])
        for name, segmenter in segmenters.items():
            result = segmenter.segment(scene.photo, segmenter.vocabulary(given))
            for count, mask in zip(counts[name], (result.coarse_mask, result.mask), strict=True):
                np.add.at(count, (scene.labels.ravel(), index[mask.ravel()]), 1)
    print(f"mean IoU on {asked.scenes} scenes from seed {asked.first_seed}: coarse, refined")
    for name, (coarse, refined) in counts.items():
        print(f"  {name}: {mean_iou(coarse):.1f}, {mean_iou(refined):.1f}")
    own, within = np.concatenate(seen["goes"], axis=1)
    print(f"of the affinity {np.median(own):.3f} is a token's own (median), {within.mean():.3f} its name's (mean)")


if __name__ == "__main__":
    main()
