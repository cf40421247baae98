"""Parameters and photos' sizes drawn at their edges, planned in a process whose memory is bounded.

As a program: `python -m support.bounds SEED COUNT` plans so many cases in a process that may hold 2 GB of data, and
prints what came of them as JSON.
"""

from __future__ import annotations

import json
import math
import random
import resource
import sys
import time
from collections import Counter

import msgspec

from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.geometry.dimensions import Dimensions
from ovdeploy.runtime.geometry.limits import LONGEST_SIDE, RESIZED, WINDOWS
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.recipe.parameters import Parameters, with_overrides

MEMORY = 2_000_000_000
"""Bytes of data that the process may hold."""

SECONDS = 5.0
"""That one case may take."""

EDGES = (0, 1, 2, 3, 7, 14, 16, 112, 224, 336, 448, 2048, 4095, 4096, 4097, 8192, 8193, 65_535, 65_536, 2**31, 10**30)
SIDES = (1, 2, 3, 15, 16, 17, 336, 448, 1_500, 2_048, 10_000, 32_768, 65_500, 65_535)


def draw(rng: random.Random) -> tuple[dict, tuple[int, int], str, dict]:
    """Overrides, a photo's size, a method, and sizes of models; most of them cannot be, and many nearly can."""

    def one(*usual):
        return rng.choice(usual) if rng.random() < 0.88 else rng.choice((*EDGES, rng.randrange(1, 70_000)))

    values = {
        name: one(*usual)
        for name, usual in {
            "short_side": (448, 1024, 8192), "max_long_side": (2048, 8192, 65_535), "crop": (336, 224, 4096),
            "stride": (224, 112, 16, 1), "window_batch": (8,), "prompt_batch": (16,), "max_pixels": (100_000_000,),
        }.items()
        if rng.random() < 0.7
    }  # fmt: skip
    sizes = {
        "sam_side": one(1024, 64, 0), "sam_grid": one(64, 4, 0), "clip_patch": one(16, 14, 8),
        "feature_grid": [one(21, 24, 42), one(21, 24, 42)], "embedding": one(512), "context_length": one(77),
    }  # fmt: skip
    if rng.random() < 0.5:
        sizes = {**sizes, "sam_side": 1024, "sam_grid": 64, "clip_patch": 16, "feature_grid": [21, 21]}
    hw = (rng.choice((*SIDES, rng.randrange(1, 65_536))), rng.choice((*SIDES, rng.randrange(1, 65_536))))
    return values, hw, rng.choice(("trident", "proxyclip", "clip")), sizes


def plan(values: dict, hw: tuple[int, int], method: str, sizes: dict) -> str:
    """Plan a case: "planned", or the name of the error that refused it.

    What else is raised ends the process, as does a plan past the limits.
    """
    try:
        dimensions = msgspec.convert(sizes, Dimensions)  # which a bundle tells as a BundleError
        made = plan_photo(hw, with_overrides(Parameters(), values), METHODS[method], dimensions)
    except msgspec.ValidationError:
        return "BundleError"
    except OvdeployError as error:
        return type(error).__name__
    finally:
        plan_photo.cache_clear()
    assert math.prod(made.windows_grid) <= WINDOWS.most and math.prod(made.aligned_hw) <= RESIZED.most
    assert max(made.photo.rows.shape) <= LONGEST_SIDE
    return "planned"


def main(seed: int, count: int) -> None:
    """Plan cases, and print how many came to what, and the slowest."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    rng, came, slowest = random.Random(seed), Counter[str](), (0.0, None)
    for _ in range(count):
        case = draw(rng)
        begun = time.process_time()
        try:
            came[plan(*case)] += 1
        except BaseException:
            print("the case was", case, file=sys.stderr)
            raise
        slowest = max(slowest, (time.process_time() - begun, repr(case)), key=lambda pair: pair[0])
        assert slowest[0] <= SECONDS, f"it took {slowest[0]:.1f} s: {slowest[1]}"
    print(json.dumps({"came": came, "slowest": slowest[0], "case": slowest[1]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
