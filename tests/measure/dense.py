"""How time and memory of a dense model's head grow with the words: `python tests/measure/dense.py BUNDLE`.

A process for each number of words, so that each has a peak of its own. What the session takes without words is told
first, and at the end what a word adds between neighbours: where memory is linear in the words, always about the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np

WORDS = (1, 32, 64, 128, 192, 256)
RUNS = 2


def measured(bundle: str, backend: str, words: int) -> dict[str, float]:
    """Peak megabytes of this process, and milliseconds of the fastest run; 0 words: the session is only opened."""
    from ovdeploy.runtime.bundle.bundle import Bundle
    from ovdeploy.runtime.bundle.opening import open_stage
    from ovdeploy.runtime.pipelines.dense.models import head_of

    opened = Bundle.load(bundle)
    rng, fastest = np.random.default_rng(0), float("nan")
    with open_stage(opened, head_of(opened.recipe), "fp32", backend) as session:
        shapes = {spec.name: spec.sized({"T": max(words, 1)}) for spec in session.contract.inputs}
        feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(RUNS if words else 0):
            start = time.perf_counter()
            session.run(feeds)
            fastest = np.fmin(fastest, (time.perf_counter() - start) * 1e3)
    return {"words": words, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "ms": float(fastest)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    if given.only is not None:
        print(json.dumps(measured(given.bundle, given.backend, given.only)))
        return
    rows = []
    for words in (0, *WORDS):
        command = [sys.executable, __file__, given.bundle, "--backend", given.backend, "--only", str(words)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print("{words:4} words: peak {mb:8.1f} MB, {ms:9.1f} ms".format(**rows[-1]), flush=True)
    for before, row in pairwise(rows[1:]):
        each = (row["mb"] - before["mb"]) / (row["words"] - before["words"])
        print(f"{before['words']:4} to {row['words']:4}: {each:6.2f} MB a word")


if __name__ == "__main__":
    main()
