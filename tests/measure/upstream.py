"""Our small promptable models against the packages of others, on the same seeded weights.

    python tests/measure/upstream.py mobile_sam --python ENV/bin/python [--freeze]

ENV is an environment of its own that holds the package (`mobilesam-mirror` 1.0.0, `efficientsam` 1.0.0, or `sam2` 1.1.0
with hydra-core and iopath; PyTorch, torchvision, timm); it runs in a process of its own. Compared are names and shapes,
the norms' epsilons, the image's features, and the predictor's answers to prompts of all kinds. `--freeze` writes what
the tests hold: names, shapes, epsilons, and some of the features' values.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.weights import random_state
from ovdeploy.export.reference.promptable.predictor import maps_of, predictor_of
from ovdeploy.export.reference.promptable.prompts import answer, sample_prompts
from ovdeploy.runtime.pipelines.promptable.stages import FEATURES
from support.samples import draw_photo
from support.upstream import FROZEN, PHOTO, SEED, sampled

CHILD = Path(__file__).parent / "upstream_child.py"


def relative(came: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(came - expected).max() / np.abs(expected).max())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--python", required=True, help="the interpreter of the environment with the package")
    parser.add_argument("--freeze", action="store_true", help="write what the tests hold")
    arguments = parser.parse_args()
    model = build_model("sam", arguments.model)
    weights = random_state(model, SEED)
    model.load_state_dict(weights)
    photo = draw_photo(PHOTO)
    predictor = predictor_of(model)
    predictor.set_image(photo)
    grid = model.prompt_encoder.mask_input_size
    mask = np.random.default_rng(SEED).standard_normal((1, *grid)).astype(np.float32)
    prompts = sample_prompts(PHOTO, mask[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(weights, folder / "weights.pt")
        np.savez(folder / "given.npz", photo=photo, mask=mask)
        asked = {
            key: {
                "points": prompt.points,
                "labels": None if prompt.points is None else prompt.labels or [1] * len(prompt.points),
                "box": prompt.box,
                "mask": prompt.mask is not None,
            }
            for key, prompt in prompts.items()
        }
        (folder / "prompts.json").write_text(json.dumps(asked))
        subprocess.run([arguments.python, str(CHILD), arguments.model, name], check=True, env={"PATH": "/usr/bin:/bin"})
        described = json.loads((folder / "described.json").read_text())
        made = np.load(folder / "made.npz")
        theirs = {key: made[key] for key in made.files}
    for made, name in FEATURES.items():
        if made in theirs:
            print(made, relative(maps_of(predictor)[name].numpy(), theirs[made]))
    for key, prompt in prompts.items():
        for many in (False, True):
            ours = answer(predictor, prompt, many)
            low_res = relative(ours.low_res_logits, theirs[f"{key}/{many}/low_res"])
            iou = float(np.abs(ours.iou - theirs[f"{key}/{many}/iou"]).max())
            same = float((ours.masks == theirs[f"{key}/{many}/masks"]).mean())
            print(f"{key}, {'three' if many else 'one'}: logits {low_res:.1e}, IoU {iou:.1e}, equal pixels {same:.5%}")
    if arguments.freeze:
        FROZEN.mkdir(exist_ok=True)
        frozen = {**described, **{name: sampled(theirs[name]) for name in FEATURES if name in theirs}}
        (FROZEN / f"{arguments.model}.json").write_text(json.dumps(frozen, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
