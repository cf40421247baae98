"""Override parameters for one segmenter and for one call, and see which cannot be overridden.

Run it as `python docs/examples/override_parameters.py [BUNDLE]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ovdeploy.runtime import ParameterError, Segmenter
from ovdeploy.runtime.scenes import draw_scene

OUTPUT = Path("ovdeploy-out")


def main(bundle: str = "demo/tiny") -> None:
    """Segment a scene under several settings, and compare the masks."""
    scene = draw_scene(seed=1_000_004)
    with Segmenter.load(bundle, parameters={"min_area": 100}) as segmenter:  # holds for all calls
        words = segmenter.vocabulary(["background", "green striped", "black plain", "blue plain", "sand"])
        plain = segmenter.segment(scene.photo, words)
        calls = {
            "coarse": {"refine": False},
            "no overlap": {"stride": segmenter.parameters.crop},  # fewer windows, so faster and less exact
            "only sure": {"probability_threshold": 0.6},  # the rest becomes class 0, the background
        }
        for name, overrides in calls.items():
            result = segmenter.segment(scene.photo, words, parameters=overrides)
            result.save_mask(OUTPUT / f"{name.replace(' ', '-')}.mask.png")
            same, time = (result.mask == plain.mask).mean(), result.timings["total"]
            print(f"{name:10} {overrides}: {same:.1%} of pixels as before, {time:.0f} ms")

        try:
            segmenter.segment(scene.photo, words, parameters={"crop": segmenter.parameters.crop // 2})
        except ParameterError as error:  # it is part of the engines
            print(f"refused: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
