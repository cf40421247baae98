"""ESC-Net's miniature with parts left out: `python tests/measure/escnet.py FOLDER --without sam` (or `prompts`).

Trains it as `python -m ovdeploy.export.tiny.train --model escnet` does, with scenes that lie in FOLDER/scenes or are
drawn there, and makes a bundle of it in FOLDER/without-PART, for `ovdeploy evaluate`. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.models.dense.builds import BUILDS
from ovdeploy.export.models.dense.escnet import begin_with_sam
from ovdeploy.export.models.dense.model import Head, LearnedDense
from ovdeploy.export.models.miniature.networks import CONTEXT
from ovdeploy.export.models.text_assets import write_tokenizer
from ovdeploy.export.models.weights import packaged, read_checkpoint
from ovdeploy.export.reference.networks import Networks
from ovdeploy.export.tiny.dataset import Scenes, draw_shards
from ovdeploy.export.tiny.dense_task import DenseTask
from ovdeploy.export.tiny.loop import Budget, Cycle, train
from ovdeploy.runtime import load_recipe
from ovdeploy.runtime.words.tokenizer import ClipTokenizer

MODEL = "tiny_escnet"
ROW = BUILDS[MODEL]
WITHOUT = {"sam": {"sam_depth": 0}, "prompts": {"prompted": False}, "nothing": {}}
"""What is changed of the head's sizes."""


def without(part: str) -> Head:
    """The head, begun with SAM's blocks where it has any."""
    torch.manual_seed(0)
    head = ROW._replace(sizes=ROW.sizes._replace(**WITHOUT[part])).head()
    sam = {name: value.float() for name, value in read_checkpoint(packaged("sam")).items()}
    begin_with_sam(head.transformer, sam)
    return head


def networks_with(head: Head) -> Networks:
    """The recipe's networks with another head."""
    whole = Networks.load(load_recipe("tiny-escnet"))
    model = LearnedDense(whole.models["dense"].clip, head, ROW.taps, ROW.side, ROW.template)
    return replace(whole, models={"dense": model.eval().requires_grad_(False)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", choices=WITHOUT, required=True)
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--scenes", type=int, default=1600)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for _ in draw_shards(given.folder / "scenes", given.scenes, 1):
        pass
    head, clip = without(given.without), Networks.load(load_recipe("tiny-catseg")).models["dense"].clip
    write_tokenizer(given.folder / "words.json", clip.vocab_size)
    words = ClipTokenizer(given.folder / "words.json", CONTEXT)
    task = DenseTask(MODEL, head, clip, Scenes(given.folder / "scenes", given.scenes), words)
    name = f"without-{given.without}"

    def report(step: int, losses: dict[str, float]) -> None:
        if step % 50 == 0:
            print(name, step, losses, flush=True)

    train(head, task, Budget((Cycle(given.steps),), 2e-3), given.folder / f"{name}.ckpt", report)
    build_bundle(networks_with(head.eval()), given.folder / name)


if __name__ == "__main__":
    main()
