"""Segment a scene that the package draws; save the overlay, the mask and the numbers.

Run it as `python docs/examples/segment_scene.py [BUNDLE]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.scenes import ALL_NAMES, draw_scene

OUTPUT = Path("ovdeploy-out")


def main(bundle: str = "demo/tiny") -> None:
    """Name every pixel of the scene, and count how many names are right."""
    scene = draw_scene(seed=1_000_004)  # training draws seeds below 8000
    with Segmenter.load(bundle) as segmenter:
        words = segmenter.vocabulary([*scene.names, "red plain", "water"])  # what is there, and two that are not
        result = segmenter.segment(scene.photo, words)

    result.save_overlay(OUTPUT / "scene.overlay.png")
    result.save_mask(OUTPUT / "scene.mask.png")
    result.save_json(OUTPUT / "scene.json")

    named = np.array([ALL_NAMES.index(name) for name in result.names])[result.mask]
    print(f"{(named == scene.labels).mean():.1%} of {named.size} pixels have the right name")
    print(f"{len(result.regions)} regions, {sum(region.refined for region in result.regions)} of them refined by SAM")
    print(f"{result.timings['total']:.0f} ms by {result.backend}; written to {OUTPUT}/scene.*")


if __name__ == "__main__":
    main(*sys.argv[1:2])
