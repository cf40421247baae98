"""Damage to caches: 2,000 flipped bits, cuts and overwritten places in each, and whether an answer ever changed.

    PYTHONPATH=tests python tests/measure/flips.py [--count 2000] [--seed 0] [CACHE ...]

Each damage is done to a fresh copy of a cache that was filled before. Then the same is asked as without damage:

- made anew: the answer is the same, and something was made anew for it;
- same: the answer is the same, and nothing was made anew;
- silent: another answer. There must be none;
- failed: an exception. There must be none either.

The exit code is 1 if there was one of the last two.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from support.caches import CACHES, Cache
from support.damage import some


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caches", nargs="*", default=list(CACHES), help="names; all if none is given")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("ovdeploy").setLevel(logging.CRITICAL)  # each damage is told
    print(f"{'cache':20}{'damages':>9}{'made anew':>11}{'same':>7}{'silent':>8}{'failed':>8}{'seconds':>9}")
    wrong = 0
    for name in given.caches:
        start = time.perf_counter()
        counts = damaged(CACHES[name], given.count, given.seed)
        wrong += counts["silent"] + counts["failed"]
        told = "".join(f"{counts[kind]:>{width}}" for kind, width in OUTCOMES.items())
        print(f"{name:20}{given.count:9}{told}{time.perf_counter() - start:9.0f}", flush=True)
    sys.exit(1 if wrong else 0)


OUTCOMES = {"made anew": 11, "same": 7, "silent": 8, "failed": 8}
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
