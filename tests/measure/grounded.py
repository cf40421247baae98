"""Average precision of a grounded bundle on drawn scenes, and of its PyTorch reference: `grounded.py BUNDLE`.

Masks, the boxes around these masks, and the detector's own boxes are measured. The same instances are the truth
for all: the connected parts of every name in a scene's labels, of 24 pixels at least.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.datasets import ScenesDataset
from ovdeploy.runtime.evaluation.precision import COMPARED, average_precision
from ovdeploy.runtime.scenes.names import ALL_NAMES, SEEN


def numbered(things, names):
    """A scene's things, under their numbers in `names`; those of other names are left out."""
    of_names = [replace(each, class_index=names.index(ALL_NAMES[each.class_index])) for each in things
                if ALL_NAMES[each.class_index] in names]  # fmt: skip
    return tuple(of_names)


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
    dataset = ScenesDataset(given.scenes)
    scenes = [dataset.read(name) for name in dataset.names]
    truths = [numbered(scene.things, names) for scene in scenes]
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
            told("PyTorch", [trace.things() for trace in traces], truths, time.perf_counter() - start)


def told(what, found, truths, seconds):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for kind in COMPARED:
        ap = average_precision(found, truths, compared=kind)
        print(f"{what}: {kind} AP {100 * ap.ap:.2f}, AP50 {100 * ap.ap50:.2f}, AP75 {100 * ap.ap75:.2f}")
    print(f"{what}: {len(found)} photos in {seconds:.0f} s, peak {peak:.0f} MB so far")


if __name__ == "__main__":
    main()
