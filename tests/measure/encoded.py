"""What a second vocabulary costs on a photo that is encoded: beside a whole photo, with and without refinement.

    export-engines trident-b16 --clip-weights random:1 --dino-weights random:2 --sam-weights random:3
    python tests/measure/encoded.py engines/trident-b16 --rounds 5

Each round asks anew and asks the encoded photo, by turns, with the same words; the masks must be equal. Words are
random unit embeddings, so that no text engine takes part. With random weights SAM's own estimates mean nothing, so that
every region counts (`region_threshold=0`, `iou_threshold=-10`, `min_area` as given).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from ovdeploy.runtime import Segmenter, Vocabulary, load_photo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photo", type=Path, default=Path("engines/coffee.jpg"))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vocabularies", type=int, default=100)
    parser.add_argument("--min-area", type=float, default=225)
    parser.add_argument("--backend", default="auto")
    given = parser.parse_args()
    photo = load_photo(given.photo)
    refined = {"region_threshold": 0.0, "iou_threshold": -10.0, "min_area": given.min_area}
    with Segmenter.load(given.bundle, backend=given.backend) as segmenter:
        print(f"{given.bundle.name}, {segmenter.backend} {segmenter.precision}, {photo.shape[1]}×{photo.shape[0]}, "
              f"{given.classes} classes, {given.rounds} rounds; medians of milliseconds")  # fmt: skip
        segmenter.warmup()
        for name, settings in {"without refinement": {"refine": False}, "with refinement": refined}.items():
            rounds(segmenter, photo, name, settings, given)
        many(segmenter, photo, refined, given)


def words(segmenter: Segmenter, count: int, seed: int) -> Vocabulary:
    length = segmenter.manifest.dimensions.embedding
    rows = np.random.default_rng(seed).standard_normal((count, length))
    return Vocabulary([f"class {i}" for i in range(count)], rows / np.linalg.norm(rows, axis=1, keepdims=True))


def rounds(
    segmenter: Segmenter, photo: np.ndarray, name: str, settings: dict[str, Any], given: argparse.Namespace
) -> None:
    encoded = segmenter.encode(photo, parameters=settings)
    times: dict[str, list[float]] = {"anew": [], "asked": [], "asked again": [], "decoder": []}
    regions = []
    for seed in range(given.rounds):
        vocabulary = words(segmenter, given.classes, seed)
        start = time.perf_counter()
        anew = segmenter.segment(photo, vocabulary, parameters=settings)
        times["anew"].append(time.perf_counter() - start)
        for what in ("asked", "asked again"):
            start = time.perf_counter()
            asked = encoded.segment(vocabulary)
            times[what].append(time.perf_counter() - start)
            if not np.array_equal(asked.mask, anew.mask):
                differing = (asked.mask != anew.mask).mean()
                print(f"{name}, vocabulary {seed}: {differing:.4%} of pixels differ")
            if what == "asked":
                times["decoder"].append(asked.timings.get("sam_decoder", 0.0) / 1e3)
        regions.append(len(anew.regions))
    told = {what: statistics.median(values) * 1e3 for what, values in times.items()}
    ratio = statistics.median(np.divide(times["asked"], times["anew"]).tolist())
    print(f"{name}: anew {told['anew']:,.0f}, asked {told['asked']:,.0f} ({ratio:.1%}; of it the decoder "
          f"{told['decoder']:,.0f}), the same words again {told['asked again']:,.0f}; "
          f"{statistics.median(regions):.0f} regions; encoded photo {encoded.nbytes / 1e6:,.0f} MB")  # fmt: skip


def many(segmenter: Segmenter, photo: np.ndarray, settings: dict[str, Any], given: argparse.Namespace) -> None:
    """Memory over many vocabularies: resident now, and at most, after each tenth."""
    encoded = segmenter.encode(photo, parameters=settings)
    for seed in range(given.vocabularies):
        encoded.segment(words(segmenter, given.classes, 1000 + seed))
        if (seed + 1) % max(1, given.vocabularies // 10) == 0:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            print(f"after {seed + 1} vocabularies: resident {resident / 1e6:,.0f} MB, encoded photo "
                  f"{encoded.nbytes / 1e6:,.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
