"""Segment many photos, one of them broken: its error stands in its place, and the others are done.

Run it as `python docs/examples/many_photos.py [BUNDLE]`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from ovdeploy.runtime import OvdeployError, Segmenter
from ovdeploy.runtime.scenes import STUFF, draw_scene

OUTPUT = Path("ovdeploy-out")


def main(bundle: str = "demo/tiny") -> None:
    """Write four photos and a broken file, and segment all five."""
    with tempfile.TemporaryDirectory() as folder, Segmenter.load(bundle) as segmenter:
        paths = [Path(folder) / f"{number}.png" for number in range(5)]
        for seed, path in enumerate(paths, 1_000_000):
            Image.fromarray(draw_scene(seed).photo).save(path)
        paths[2].write_bytes(paths[2].read_bytes()[:500])  # cut short

        words = segmenter.vocabulary([*STUFF, "green plain", "red striped"])
        for path, result in zip(paths, segmenter.segment_many(paths, words), strict=True):
            if isinstance(result, OvdeployError):
                print(f"{path.name}: {result}")
                continue
            result.save_overlay(OUTPUT / f"{path.stem}.overlay.png")
            print(f"{path.name}: {result.mask.shape[1]}×{result.mask.shape[0]}, {result.timings['total']:.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:2])
