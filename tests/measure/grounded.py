"""Average precision of a grounded bundle on drawn scenes, and of its PyTorch reference: `grounded.py BUNDLE`.

The same instances are the truth for both: the connected parts of every name in a scene's labels, of 24 pixels at least.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.answers.components import find_instances
from ovdeploy.runtime.answers.instance import Instance
from ovdeploy.runtime.answers.rle import Rle
from ovdeploy.runtime.answers.visible import box_of
from ovdeploy.runtime.evaluation.precision import average_precision
from ovdeploy.runtime.scenes import draw_scene
from ovdeploy.runtime.scenes.names import ALL_NAMES, FIRST_TEST_SEED, SEEN, THINGS

SMALLEST = 24


def truth_of(scene, names):
    """The things of a scene, under their numbers in `names`."""
    numbers = np.array([names.index(name) if name in names else 0 for name in ALL_NAMES], np.uint16)
    mask = np.where(scene.labels < len(THINGS), numbers[scene.labels], 0).astype(np.uint16)
    ones = np.ones(mask.shape, np.float32)
    return find_instances(mask, ones, tuple(names), background=True, min_area=SMALLEST)


def instances_in(trace, names):
    """The reference's things as instances."""
    made = []
    for number, score, mask in zip(trace.found.classes.tolist(), trace.found.scores.tolist(), trace.masks, strict=True):
        if mask.any():
            made.append(Instance(len(made) + 1, number, names[number], box_of(mask), int(mask.sum()), score,
                                 Rle.encode(mask)))  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--reference", action="store_true", help="Measure PyTorch too.")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    overrides = {name: float(value) for name, value in (each.split("=") for each in given.set)}
    names = ["background", *SEEN]
    scenes = [draw_scene(FIRST_TEST_SEED + index) for index in range(given.scenes)]
    truths = [truth_of(scene, names) for scene in scenes]
    with Segmenter.load(given.bundle, backend=given.backend, parameters=overrides) as segmenter:
        words = segmenter.vocabulary(names)
        start = time.perf_counter()
        found = [segmenter.segment(scene.photo, words).instances() for scene in scenes]
        told(f"engines, {given.backend}", found, truths, time.perf_counter() - start)
        if given.reference:
            from ovdeploy.export.reference.networks import Networks

            networks = Networks.load(segmenter.manifest.recipe)
            reference = networks.family.reference(networks)
            start = time.perf_counter()
            traces = [reference.segment(scene.photo, words, parameters=overrides) for scene in scenes]
            told("PyTorch", [instances_in(trace, names) for trace in traces], truths, time.perf_counter() - start)


def told(what, found, truths, seconds):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for kind, masks in (("masks", True), ("boxes", False)):
        ap = average_precision(found, truths, masks=masks)
        print(f"{what}: {kind} AP {100 * ap.ap:.2f}, AP50 {100 * ap.ap50:.2f}, AP75 {100 * ap.ap75:.2f}")
    print(f"{what}: {len(found)} photos in {seconds:.0f} s, peak {peak:.0f} MB so far")


if __name__ == "__main__":
    main()
