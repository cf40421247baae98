"""What a photo costs between the engines. No test: it takes time and measures it.

    python tests/measure/between.py [--size 683x512] [--classes 6 --classes 150] [--rounds 7]

The whole pipeline runs, with the sizes of ViT-B, on sessions that hold ready answers in place of engines: logits in
blobs, and for every region a mask somewhat like it. So what is left is all that is not an engine, from the decoded
photo to the mask. Prints medians of every step in milliseconds, and the peak of what NumPy allocates in a further run.
"""

from __future__ import annotations

import argparse
import statistics
import tracemalloc

import cv2
import numpy as np

from ovdeploy.runtime import Segmenter, Vocabulary, load_recipe
from ovdeploy.runtime.backends.base import Session
from ovdeploy.runtime.bundle.bundle import Manifest
from ovdeploy.runtime.geometry.dimensions import Dimensions
from ovdeploy.runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter
from ovdeploy.runtime.stage.contract import StageContract, TensorSpec

ENGINES = {
    "dino": (("windows",), ("features", "mean_similarity")),
    "clip_image": (("windows", "dino_features", "mean_similarity"), ("features",)),
    "sam_encoder": (("image", "valid_tokens", "affinity_factor", "keep_negative"), ("features", "affinity")),
    "head": (("window_features", "row_weights", "column_weights", "affinity", "embeddings"), ("logits",)),
    "sam_decoder": (("sam_features", "points", "boxes", "mask_prompts"), ("low_res_logits", "iou")),
}
SIZES = Dimensions(
    clip_patch=16, feature_grid=(42, 42), embedding=512, context_length=77, sam_side=1024, sam_grid=64,
    sam_padding=(123.7, 116.3, 103.5),
)  # fmt: skip
CELL = 6  # tokens from one blob to the next


class Ready(Session):
    """A session with ready answers."""

    def __init__(self, stage: str, answer) -> None:
        taken, given = (
            tuple(TensorSpec(name=name, dtype="float32", shape=(), layout="", range="") for name in names)
            for names in ENGINES[stage]
        )
        super().__init__(StageContract(stage=stage, inputs=taken, outputs=given))
        self.answer = answer

    def run(self, feeds, into=None):
        return {name: array for name, array in self.answer(feeds).items() if name not in (into or {})}

    def empty(self, name, **sizes):
        return np.zeros((sizes.get("B", 1), 1, 1, 1), np.float32)


def blobs(feeds) -> dict[str, np.ndarray]:
    """Logits [Q, vh, vw]: smooth cosines, so that there are regions of all sizes."""
    hw = len(feeds["row_weights"]), len(feeds["column_weights"])
    rng = np.random.default_rng(0)
    grid = rng.normal(0, 0.2, (len(feeds["embeddings"]), hw[0] // CELL + 2, hw[1] // CELL + 2)).astype(np.float32)
    return {"logits": np.stack([cv2.resize(plane, hw[::-1], interpolation=cv2.INTER_CUBIC) for plane in grid])}


def ovals(feeds) -> dict[str, np.ndarray]:
    """Masks: ovals that fill the boxes with a frayed border; every fifth is not believed."""
    y, x = np.mgrid[:256, :256].astype(np.float32) * 4
    rng, masks = np.random.default_rng(0), []
    for x0, y0, x1, y1 in feeds["boxes"]:
        oval = ((2 * x - x0 - x1) / (x1 - x0 + 9)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0 + 9)) ** 2
        masks.append(5 * (1.1 - oval) + rng.normal(0, 0.3, oval.shape))
    iou = np.where(np.arange(len(masks)) % 5, 0.9, 0.5).astype(np.float32)
    return {"low_res_logits": np.stack(masks).astype(np.float32)[:, None], "iou": iou}


def segmenter() -> Segmenter:
    """The pipeline of `trident-b16` without engines."""
    nothing = {"features": np.zeros((1, 1, 1, 1), np.float32), "affinity": np.zeros((1, 1), np.float32)}
    answers = {
        "dino": lambda feeds: nothing | {"mean_similarity": np.zeros(len(feeds["windows"]), np.float32)},
        "clip_image": lambda feeds: nothing,
        "sam_encoder": lambda feeds: nothing,
        "head": blobs,
        "sam_decoder": ovals,
    }
    sessions = {stage: Ready(stage, answer) for stage, answer in answers.items()}
    return TrainingFreeSegmenter(Manifest.bare(load_recipe("trident-b16"), SIZES), sessions)


def measure(opened: Segmenter, photo: np.ndarray, classes: int, rounds: int) -> None:
    rows = np.random.default_rng(0).standard_normal((classes, 512))
    vocabulary = Vocabulary([f"class {index}" for index in range(classes)], rows)
    opened.segment(photo, vocabulary)
    results = [opened.segment(photo, vocabulary) for _ in range(rounds)]
    tracemalloc.start()
    opened.segment(photo, vocabulary)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    between = [name for name in results[0].timings if name not in ENGINES and name != "total"]
    told = {name: statistics.median(result.timings[name] for result in results) for name in between}
    left = [result.timings["total"] - sum(result.timings[name] for name in ENGINES) for result in results]
    steps = "  ".join(f"{name} {value:.1f}" for name, value in told.items())
    print(f"{classes:4d} classes, {len(results[0].regions):4d} regions: {statistics.median(left):7.1f} ms  ({steps})")
    print(f"     peak of NumPy's memory {peak / 1e6:.0f} MB, the ready answers included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="683x512", help="of the photo, height x width")
    parser.add_argument("--classes", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    photo = cv2.resize(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8), (width, height))
    print(f"photo {arguments.size}")
    for classes in arguments.classes or (6, 150):
        measure(segmenter(), photo, classes, arguments.rounds)


if __name__ == "__main__":
    main()
