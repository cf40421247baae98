"""Damage to caches and bundles: 2,000 flipped bits, cuts and overwritten places in each, and whether an answer changed.

    PYTHONPATH=tests python tests/measure/flips.py [--count 2000] [--seed 0] [NAME ...]

Each damage is done to a fresh copy of a cache that was filled before, to the manifest of a bundle or to one of its
other files. Then the same is asked as without damage (of a bundle, that a photo be segmented):

- refused: an error of ours. Bundles may refuse, caches may not;
- made anew: the answer is the same, and something was made anew for it;
- same: the answer is the same, and nothing was made anew;
- silent: another answer. There must be none;
- failed: an exception. There must be none either.

The exit code is 1 if there was one of the last two. Bundles are of the recipe `micro`, and run by ONNX Runtime.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import BundleError, Segmenter, load_recipe
from ovdeploy.runtime.files import CACHE_VARIABLE
from support.caches import CACHES, Answer, Cache
from support.damage import some
from support.samples import draw_photo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caches", nargs="*", default=[*CACHES, *BUNDLES], help="names; all if none is given")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("ovdeploy").setLevel(logging.CRITICAL)  # each damage is told
    print(f"{'what':20}{'damages':>9}" + "".join(f"{kind:>{width}}" for kind, width in OUTCOMES.items()) + "  seconds")
    wrong = 0
    for name in given.caches:
        start = time.perf_counter()
        counts = damaged({**CACHES, **BUNDLES}[name], given.count, given.seed)
        wrong += counts["silent"] + counts["failed"]
        told = "".join(f"{counts[kind]:>{width}}" for kind, width in OUTCOMES.items())
        print(f"{name:20}{given.count:9}{told}{time.perf_counter() - start:9.0f}", flush=True)
    sys.exit(1 if wrong else 0)


def segmented(folder: Path) -> Answer:
    """The mask and scores of a photo by the bundle in a folder, which is exported there if it is empty; no cache."""
    os.environ[CACHE_VARIABLE] = str(folder / "cache")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    if not any(folder.iterdir()):
        build_bundle(Networks.load(load_recipe("micro")), folder / "bundle")
    with Segmenter.load(folder / "bundle", backend="onnxruntime", threads=1) as segmenter:
        words = segmenter.vocabulary(["cup; mug", "table"])
        result = segmenter.segment(draw_photo((40, 52)), words)
    return Answer(result.mask.tobytes() + result.scores.tobytes(), 0)


BUNDLES = {"manifest": Cache(segmented, "bundle.json"), "engines": Cache(segmented, "*.????????????.*")}

OUTCOMES = {"refused": 9, "made anew": 11, "same": 7, "silent": 8, "failed": 8}
"""Widths of columns."""


def damaged(cache: Cache, count: int, seed: int) -> Counter[str]:
    """How often which outcome came."""
    outcomes: Counter[str] = Counter()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, copy = Path(folder, "whole"), Path(folder, "copy")
        whole.mkdir()
        expected = cache.ask(whole).content
        for kind, damage in some(count, seed):
            shutil.copytree(whole, copy)
            path = rng.choice(cache.files(copy))
            damage(path)
            try:
                answer = cache.ask(copy)
            except BundleError as error:
                outcomes["refused" if cache in BUNDLES.values() else "failed"] += 1
                print(f"{kind} in {path.name}: {error!r}"[:300], file=sys.stderr)
            except Exception as error:
                print(f"{kind} in {path.name}: {error!r}", file=sys.stderr)
                outcomes["failed"] += 1
            else:
                same = "made anew" if answer.made else "same"
                outcomes[same if answer.content == expected else "silent"] += 1
            shutil.rmtree(copy)
    return outcomes


if __name__ == "__main__":
    main()
