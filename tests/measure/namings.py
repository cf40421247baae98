"""What transformers calls the tensors of CLIP, DINO and SAM, and what it computes with them.

    python tests/measure/namings.py --python ENV/bin/python [--freeze] [MODEL …]

ENV is an environment of its own that holds transformers (5.24 was used), PyTorch and safetensors; it runs in a process
of its own, without a network. Small models of every kind are saved by `save_pretrained`; their tensors are made from
seeds; transformers loads the file and computes. `--freeze` writes what the tests hold: names, shapes, some of the
outputs' values.
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
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.namings import FROZEN, POINTS, image, sampled, state_of, tokens

CHILD = Path(__file__).parent / "namings_child.py"
SIDES = {"clip": 96, "vit": 64, "dinov2": 70, "dinov2_registers": 70, "dinov2_classifier": 70, "dinov3": 64, "sam": 512}
"""Of the images, in pixels."""


def asked(python: str, name: str, folder: Path) -> None:
    subprocess.run([python, str(CHILD), name, str(folder)], check=True, env={"PATH": "/usr/bin:/bin"})


def frozen_of(python: str, name: str) -> dict:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        asked(python, name, folder)
        described = json.loads((folder / "described.json").read_text())
        state = state_of(described["tensors"])
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        given = {
            "image": image(SIDES[name]).numpy(),
            "tokens": tokens().numpy(),
            "points": np.array([POINTS], np.float32),
        }
        np.savez(folder / "given.npz", **given)
        asked(python, name, folder)
        made, live = np.load(folder / "made.npz"), np.load(folder / "live.npz")
        outputs = {key: sampled(torch.from_numpy(made[key])) for key in made.files}
        return {
            "tensors": described["tensors"],
            "outputs": outputs,
            "side": SIDES[name],
            "live": origins({key: live[key] for key in live.files}, state),
        }


def origins(live: dict[str, np.ndarray], state: dict[str, torch.Tensor]) -> dict[str, str]:
    """Of the names that transformers uses in memory: which of the file each is."""
    found = {}
    for key, value in live.items():
        equal = [name for name, other in state.items() if other.numpy().tobytes() == value.tobytes()]
        origin = equal[0] if len(equal) == 1 else next(name for name in equal if key.endswith(name))  # zeros
        found[key] = origin
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(SIDES))
    parser.add_argument("--python", required=True, help="the interpreter of the environment with transformers")
    parser.add_argument("--freeze", action="store_true", help="write what the tests hold")
    arguments = parser.parse_args()
    FROZEN.mkdir(exist_ok=True)
    for name in arguments.models:
        made = frozen_of(arguments.python, name)
        print(name, len(made["tensors"]), "tensors;", {key: values[:3] for key, values in made["outputs"].items()})
        if arguments.freeze:
            (FROZEN / f"{name}.json").write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
