"""How much faster regions are than the plain Algorithm 2, with equal results. No test: it takes time and measures it.

    python tests/measure/regions.py [--classes 150] [--size 683x512] [--rounds 7]

Plain: scikit-image labels each class's mask, and every component is a mask of its own, from which its area, box, mean
probability and most probable pixel are taken by NumPy. Both start from the same half-resolution labels and
probabilities, and alternate. Prints both medians, their ratio, and the same for OpenCV's labels class by class.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from skimage.measure import label

from ovdeploy.runtime.labelling.coarse import HalfResolution
from ovdeploy.runtime.labelling.regions import Regions, find_regions

THRESHOLD, MIN_AREA = 0.2, 30


def draw_case(classes: int, hw: tuple[int, int], seed: int = 0, cell: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Labels [dh, dw] and probabilities [C, dh, dw] in blobs with frayed borders, as small grids of logits give."""
    rng = np.random.default_rng(seed)
    h, w = hw[0] // 2, hw[1] // 2
    grid = rng.standard_normal((classes, h // cell + 2, w // cell + 2)).astype(np.float32)
    logits = np.stack([cv2.resize(plane, (w, h), interpolation=cv2.INTER_CUBIC) for plane in grid])
    logits = 8 * logits + rng.normal(0, 0.2, logits.shape).astype(np.float32)
    exponentials = np.exp(logits - logits.max(axis=0))
    probabilities = exponentials / exponentials.sum(axis=0)
    return probabilities.argmax(axis=0).astype(np.uint16), probabilities


def plain_regions(labels: np.ndarray, probabilities: np.ndarray, components: Callable) -> list[tuple]:
    """Algorithm 2: class by class, one mask a region; (class, area, box, score, point)."""
    certain = np.where(probabilities.max(axis=0) < np.float32(THRESHOLD), len(probabilities), labels)
    found = []
    for index, probability in enumerate(probabilities):
        if probability.max() < np.float32(THRESHOLD):
            continue
        numbered, count = components(certain == index)
        masks = [numbered == number for number in range(1, count + 1)]
        of_class = [describe(index, mask, probability) for mask in masks if mask.sum() >= MIN_AREA]
        found += [region for _, region in sorted(of_class)]
    return found


def describe(index: int, mask: np.ndarray, probability: np.ndarray) -> tuple[int, tuple]:
    """The first pixel, and what is told of a region."""
    ys, xs = np.nonzero(mask)
    best = np.where(mask, probability, -1).argmax()
    box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))
    score = float(probability[mask].mean(dtype=np.float64))
    point = (int(best % mask.shape[1]), int(best // mask.shape[1]))
    return int(mask.argmax()), (index, int(mask.sum()), box, score, point)


def by_skimage(mask: np.ndarray) -> tuple[np.ndarray, int]:
    return label(mask, connectivity=2, return_num=True)


def by_opencv(mask: np.ndarray) -> tuple[np.ndarray, int]:
    count, numbered = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return numbered, count - 1


def told(regions: Regions) -> list[tuple]:
    """Regions as the plain version tells them."""
    columns = regions.class_index, regions.area, regions.box_xyxy, regions.score, regions.point_xy
    return [
        (int(c), int(a), tuple(b.tolist()), float(s), tuple(p.tolist())) for c, a, b, s, p in zip(*columns, strict=True)
    ]


def check_equal(ours: list[tuple], theirs: list[tuple]) -> None:
    """Everything equal; mean probabilities to the rounding of sums in another order."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a[:3] == b[:3] and a[4] == b[4] and abs(a[3] - b[3]) < 1e-9, (a, b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--size", default="683x512", help="of the photo, height x width")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    labels, probabilities = draw_case(arguments.classes, (height, width))
    own = np.take_along_axis(probabilities, labels[None].astype(np.intp), axis=0)[0]
    half = HalfResolution(labels, own, probabilities.max(axis=0), probabilities.max(axis=(1, 2)))
    ways = {
        "runs (ours)": lambda: told(find_regions(half, THRESHOLD, MIN_AREA)),
        "plain, scikit-image": lambda: plain_regions(labels, probabilities, by_skimage),
        "plain, OpenCV": lambda: plain_regions(labels, probabilities, by_opencv),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            results[name] = way()
            times[name].append(time.perf_counter() - start)
    ours, *others = results.values()
    for other in others:
        check_equal(ours, other)
    print(
        f"{arguments.classes} classes, photo {arguments.size}, {len(ours)} regions of at least {MIN_AREA} pixels; equal"
    )
    first = statistics.median(times["runs (ours)"])
    for name, values in times.items():
        print(f"{name:22s} {statistics.median(values) * 1e3:9.2f} ms   {statistics.median(values) / first:6.1f}x")


if __name__ == "__main__":
    main()
