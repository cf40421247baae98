"""Ask methods of several kinds about one scene, and put their answers side by side.

Run it as `python docs/examples/side_by_side.py [BUNDLE …]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.scenes import draw_scene

OUTPUT = Path("ovdeploy-out")
KINDS = ("demo/tiny", "demo/tiny-catseg", "demo/tiny-grounded")
"""Training-free, learned, and things alone, by boxes."""
MARGIN, TITLE = 12, 24
"""Around pictures, and above each, in pixels."""


def side_by_side(pictures: dict[str, Image.Image]) -> Image.Image:
    """Pictures in a row, each below its title."""
    width = sum(picture.width + MARGIN for picture in pictures.values()) + MARGIN
    height = max(picture.height for picture in pictures.values()) + TITLE + MARGIN
    row = Image.new("RGB", (width, height), "white")
    left = MARGIN
    for title, picture in pictures.items():
        ImageDraw.Draw(row).text((left, TITLE / 2), title, fill="black", anchor="lm")
        row.paste(picture, (left, TITLE))
        left += picture.width + MARGIN
    return row


def main(*bundles: str) -> None:
    """Segment the demo's scene with each bundle: the same words, the same call, whatever finds them."""
    scene = draw_scene(seed=1_000_004)
    pictures = {"the scene": Image.fromarray(scene.photo)}
    for bundle in bundles or KINDS:
        with Segmenter.load(bundle) as segmenter:
            result = segmenter.segment(scene.photo, segmenter.vocabulary(["background", *scene.names]))
        pictures[f"{Path(bundle).name}, {result.timings['total']:.0f} ms"] = result.overlay()

    OUTPUT.mkdir(exist_ok=True)
    side_by_side(pictures).save(OUTPUT / "side-by-side.png")
    print(f"{', '.join(pictures)}: written to {OUTPUT}/side-by-side.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
