"""Segment a tree of photos into a tree of masks of the same form, and skip what is done.

Run it as `python docs/examples/mirror_folder.py [BUNDLE [PHOTOS]]`.

Without PHOTOS it draws a small tree first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from ovdeploy.runtime import OvdeployError, Segmenter
from ovdeploy.runtime.scenes import STUFF, draw_scene

OUTPUT = Path("ovdeploy-out") / "mirrored"
SUFFIXES = {".jpg", ".jpeg", ".png"}


def draw_tree(root: Path) -> Path:
    """A few photos in folders, to have something to do."""
    for seed, place in enumerate(("a.png", "day/b.png", "day/c.png", "night/late/d.png"), 1_000_010):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_scene(seed).photo).save(root / place)
    return root


def main(bundle: str = "demo/tiny", photos: str | None = None) -> None:
    """Segment every photo that has no mask yet."""
    root = Path(photos) if photos else draw_tree(Path("ovdeploy-out") / "photos")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    targets = {path: OUTPUT / path.relative_to(root).parent / f"{path.name}.mask.png" for path in found}
    left = [path for path in found if not targets[path].exists()]
    print(f"{root}: {len(found)} photos, {len(left)} to do")

    failed = 0
    with Segmenter.load(bundle) as segmenter:
        words = segmenter.vocabulary(list(STUFF))
        for path, result in zip(left, segmenter.segment_many(left, words), strict=True):
            if isinstance(result, OvdeployError):
                failed += 1
                print(f"failed: {result}", file=sys.stderr)
                continue
            result.save_mask(targets[path])  # makes the folder; the file is whole or absent
            print(targets[path])
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
