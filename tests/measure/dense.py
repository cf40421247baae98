"""What a dense model costs: `python tests/measure/dense.py BUNDLE` for the head by words, with `--photo` for a photo.

By words: a process for each number of words, so that each has a peak of its own. What the session takes without words
is told first, and at the end what a word adds between neighbours: where memory is linear in the words, always about the
same. The bundle needs the head's stage alone (`export-engines … --stages aggregate`, or `escnet`).

A photo: the one in the package, twice, with the embeddings of as many words as `--words` says, at random, so that no
text engine is needed (a user's are embedded once and kept). Of the second time seconds of the processor, and by the
clock for each step; the process's peak and the engines' sizes. How near they are to PyTorch, `ovdeploy parity` tells.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

WORDS = (1, 32, 64, 128, 192, 256)
RUNS = 2
PHOTO = Path(__file__).resolve().parents[2] / "engines" / "coffee.jpg"


def by_words(given: argparse.Namespace) -> dict[str, Any]:
    """Peak megabytes of this process, and milliseconds of the fastest run; 0 words: the session is only opened."""
    from ovdeploy.runtime.bench.memory import own_memory
    from ovdeploy.runtime.bundle.bundle import Bundle
    from ovdeploy.runtime.bundle.opening import open_stage
    from ovdeploy.runtime.pipelines.dense.models import head_of

    opened, words = Bundle.load(given.bundle), given.only
    rng, fastest = np.random.default_rng(0), float("nan")
    with open_stage(opened, head_of(opened.recipe), given.precision, given.backend) as session:
        shapes = {spec.name: spec.sized({"T": max(words, 1)}) for spec in session.contract.inputs}
        feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(RUNS if words else 0):
            start = time.process_time()
            session.run(feeds)
            fastest = np.fmin(fastest, (time.process_time() - start) * 1e3)
    return {"words": words, "mb": own_memory().peak / 1e6, "ms": float(fastest)}


def show_words(given: argparse.Namespace) -> None:
    """A line for each number of words, and what a word adds."""
    rows = []
    for words in (0, *WORDS):
        rows.append(json.loads(in_a_process(given, "--only", str(words))))
        print("{words:4} words: peak {mb:8.1f} MB, {ms:9.1f} ms of the processor".format(**rows[-1]), flush=True)
    for before, row in pairwise(rows[1:]):
        each = (row["mb"] - before["mb"]) / (row["words"] - before["words"])
        print(f"{before['words']:4} to {row['words']:4}: {each:6.2f} MB a word")


def show_photo(given: argparse.Namespace) -> None:
    """What the photo costs; in this process."""
    from ovdeploy.runtime import Segmenter
    from ovdeploy.runtime.bench.memory import own_memory
    from ovdeploy.runtime.words.vocabulary import random_vocabulary

    with Segmenter.load(given.bundle, backend=given.backend, precision=given.precision) as segmenter:
        words = random_vocabulary(given.words, segmenter.manifest.dimensions.embedding)
        segmenter.segment(PHOTO, words)
        started, result = time.process_time(), segmenter.segment(PHOTO, words)
        spent = time.process_time() - started
    print(f"a photo of {result.mask.shape[1]} × {result.mask.shape[0]}: {spent:.2f} s of the processor")
    print("by the clock, s: " + ", ".join(f"{step} {ms / 1e3:.2f}" for step, ms in result.timings.items()))
    sizes = {stage: entry.engines[given.precision].files for stage, entry in segmenter.manifest.stages.items()}
    told = (f"{stage} {sum(file.bytes for file in files) / 1e6:.0f}" for stage, files in sizes.items())
    print(f"peak {own_memory().peak / 1e6:.0f} MB; engines, MB: {', '.join(told)}")


def in_a_process(given: argparse.Namespace, *more: str) -> str:
    """What this program prints in a process of its own."""
    how = ["--backend", given.backend, "--precision", given.precision, *more]
    command = [sys.executable, __file__, given.bundle, *how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--photo", action="store_true")
    parser.add_argument("--words", type=int, default=6)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only is not None:
        print(json.dumps(by_words(given)))
    elif given.photo:
        show_photo(given)
    else:
        show_words(given)


if __name__ == "__main__":
    main()
