"""Whether BGR could be told from RGB by an array's pixels. No test: it measures, and the answer is no.

    python tests/measure/bgr.py [PHOTO …]

Without photos it takes the colour photos that come with scikit-image, the package's own, and 300 drawn scenes. For each
cue it prints how often photos as they are would be called BGR (false alarms), and how often turned ones are found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ovdeploy.runtime import load_photo
from ovdeploy.runtime.photo.reading import demo_photo
from ovdeploy.runtime.scenes import draw_scene

COLOURED = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png",
            "motorcycle_right.png", "retina.jpg", "rocket.jpg")  # fmt: skip


def warmth(photo: np.ndarray) -> float:
    """Red above blue, over the whole: most photos are warm."""
    return float(photo[..., 0].mean() - photo[..., 2].mean())


def sky(photo: np.ndarray) -> float:
    """Blue above red in the upper third, against the lower one."""
    third = max(1, len(photo) // 3)
    return warmth(photo[-third:]) - warmth(photo[:third])


def skin(photo: np.ndarray) -> float:
    """Pixels with the hues of skin, wood and earth (R > G > B), against those that would have them if turned."""
    red, green, blue = (photo[..., index].astype(int) for index in range(3))
    return float(((red > green + 15) & (green > blue)).mean() - ((blue > green + 15) & (green > red)).mean())


def bright(photo: np.ndarray) -> float:
    """Red above blue among the brightest tenth: lamps and the sun are warm."""
    flat = photo.reshape(-1, 3)
    brightness = flat.sum(axis=1, dtype=int)
    return warmth(flat[brightness >= np.quantile(brightness, 0.9)][None])


CUES: dict[str, Callable[[np.ndarray], float]] = {"warmth": warmth, "sky": sky, "skin": skin, "bright": bright}


def votes(photo: np.ndarray) -> float:
    """All cues together: BGR where each says so."""
    return max(np.sign(cue(photo)) for cue in CUES.values())


def main() -> None:
    groups = {"given": [load_photo(path) for path in sys.argv[1:]]} if sys.argv[1:] else usual()
    for name, photos in groups.items():
        for cue, score in {**CUES, "all agree": votes}.items():
            alarms = np.mean([score(photo) < 0 for photo in photos])
            found = np.mean([score(photo[..., ::-1]) < 0 for photo in photos])
            print(f"{name:12} {len(photos):4} photos  {cue:10} false alarms {alarms:6.1%}  found {found:6.1%}")


def usual() -> dict[str, list[np.ndarray]]:
    groups = {"drawn": [draw_scene(seed).photo for seed in range(300)]}
    try:
        import skimage
    except ImportError:
        return groups
    folder = Path(skimage.__file__).parent / "data"
    return {"photographs": [load_photo(folder / name) for name in COLOURED] + [load_photo(demo_photo())], **groups}


if __name__ == "__main__":
    main()
