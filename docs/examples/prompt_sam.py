"""Ask SAM for one object by a point, then by a second round, then by a box.

The bundle needs the stage `sam_prompt_decoder`: export-engines tiny --output demo/tiny --interactive

Run it as `python docs/examples/prompt_sam.py [BUNDLE]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ovdeploy.runtime import Prompt, Prompter
from ovdeploy.runtime.scenes import ALL_NAMES, draw_scene

OUTPUT = Path("ovdeploy-out")


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((mask & other).sum() / max((mask | other).sum(), 1))


def main(bundle: str = "demo/tiny") -> None:
    """Prompt for the blue thing of a scene whose exact mask is known."""
    OUTPUT.mkdir(exist_ok=True)
    scene = draw_scene(seed=1_000_004)
    thing = scene.labels == ALL_NAMES.index("blue plain")
    ys, xs = np.nonzero(thing)
    centre, box = [xs.mean(), ys.mean()], [xs.min(), ys.min(), xs.max(), ys.max()]

    with Prompter.load(bundle) as prompter:  # opens SAM's two engines, nothing else
        photo = prompter.encode(scene.photo)  # the expensive part, once
        click = photo.predict([centre])  # three masks for what one click may mean
        logits = click.low_res_logits[click.best]
        again = photo.predict([centre, [5, 5]], [1, 0], mask=logits, multimask=False)
        boxed, both = photo.predict_many([Prompt(box=box), Prompt([centre], box=box)], multimask=False)

    answers = {"one point": click, "a second round": again, "a box": boxed, "box and point": both}
    for name, answer in answers.items():
        mask = answer.masks[answer.best]
        print(f"{name:15} IoU {overlap(mask, thing):.3f} with the thing; SAM expects {answer.iou[answer.best]:.3f}")
    Image.fromarray(both.masks[0]).save(OUTPUT / "blue.mask.png")
    print(f"written to {OUTPUT}/blue.mask.png")


if __name__ == "__main__":
    main(*sys.argv[1:2])
