"""A photo's time by several bundles, taking turns, and how alike their masks are.

    python tests/measure/beside.py engines/s2clip-b16 engines/s2clip-mobile-sam --rounds 5

In each round every bundle segments the photo once, with the same random unit embeddings, so that no text engine takes
part. Milliseconds are of the wall clock, medians of the rounds with their range; ratios are medians over rounds of the
first bundle's time over another's in the same round. Bundles that share a text model understand the same embeddings;
with random weights SAM's masks say nothing, so that the masks compared are the coarse ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ovdeploy.runtime import Segmenter, Vocabulary, load_photo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--photo", type=Path, default=Path("engines/coffee.jpg"))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    photo = load_photo(given.photo)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(Segmenter.load(path, backend=given.backend, threads=given.threads))
            for path in given.bundles
        ]
        words = words_of(opened[0], given.classes)
        first = [segmenter.segment(photo, words) for segmenter in opened]  # what comes once is not measured
        times: list[list[float]] = [[] for _ in opened]
        for _ in range(given.rounds):
            for segmenter, own in zip(opened, times, strict=True):
                start = time.perf_counter()
                last = segmenter.segment(photo, words)
                own.append((time.perf_counter() - start) * 1e3)
        print(f"{photo.shape[1]}×{photo.shape[0]}, {given.classes} classes, {opened[0].backend} {opened[0].precision}, "
              f"{given.rounds} rounds; the last one's steps in ms: "
              f"{', '.join(f'{name} {value:.0f}' for name, value in last.timings.items())}")  # fmt: skip
        for path, own, result in zip(given.bundles, times, first, strict=True):
            ratio = statistics.median(np.divide(times[0], own).tolist())
            same = (result.coarse_mask == first[0].coarse_mask).mean()
            span = f"{statistics.median(own):,.0f} ms ({min(own):,.0f} to {max(own):,.0f})"
            print(f"{path.name}: {span}, {ratio:.2f}× as fast as the first; {len(result.regions)} regions; "
                  f"coarse mask equal on {same:.3%}")  # fmt: skip


def words_of(segmenter: Segmenter, count: int) -> Vocabulary:
    length = segmenter.manifest.dimensions.embedding
    rows = np.random.default_rng(0).standard_normal((count, length))
    return Vocabulary([f"class {i}" for i in range(count)], rows / np.linalg.norm(rows, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
