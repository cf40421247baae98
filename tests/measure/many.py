"""Throughput of `segment_many` against a plain loop. No test: it takes time and measures it.

    python tests/measure/many.py BUNDLE [--photos 20] [--rounds 3] [--engines 1] [--workers 2] [--threads N]

Drawn scenes, written as JPEG files of 600x400, go through one segmenter by a loop and by `segment_many`, alternating.
Prints photos per second of both, their ratio (the median of the rounds'), and the process's peak memory after each way
(the loop goes first, so what the second adds is its own).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ovdeploy.runtime import Result, Segmenter, Vocabulary
from ovdeploy.runtime.scenes import draw_scene


def write_photos(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(draw_scene(seed=index).photo).resize((600, 400)).save(path)
    return paths


def timed(way) -> float:
    start = time.perf_counter()
    for result in way():
        assert isinstance(result, Result), result
    return time.perf_counter() - start


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--engines", type=int, default=1, help="photos on which engines run at once")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Segmenter.load(arguments.bundle, threads=arguments.threads, backend=arguments.backend) as segmenter,
    ):
        paths = write_photos(Path(folder), arguments.photos)
        rows = np.random.default_rng(0).standard_normal((6, segmenter.manifest.dimensions.embedding))
        words = Vocabulary([f"class {index}" for index in range(6)], rows)
        segmenter.segment(paths[0], words)
        ratios = []
        for _ in range(arguments.rounds):
            loop = timed(lambda: (segmenter.segment(path, words) for path in paths))
            after_loop = peak_megabytes()
            many = timed(
                lambda: segmenter.segment_many(paths, words, workers=arguments.workers, engines=arguments.engines)
            )
            ratios.append(loop / many)
            told = f"loop {len(paths) / loop:.3f} photos/s, segment_many {len(paths) / many:.3f}: {loop / many:.2f}x"
            print(f"{told}   peak {after_loop:.0f} and {peak_megabytes():.0f} MB", flush=True)
    print(f"median {statistics.median(ratios):.2f}x on {segmenter.backend}, threads {arguments.threads}")


if __name__ == "__main__":
    main()
