"""Published weights as the hub and the releases have them, with random values: what a mirror serves.

The names of repositories and files are those that open_clip and timm ask for; the files are written as theirs are.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.weights import random_state, state_digest

HUB = "/{}/resolve/main/{}"
CLIP_REPOSITORY = "timm/vit_base_patch16_clip_224.openai"
"""Where open_clip finds OpenAI's ViT-B/16."""

SAM_RELEASE = "/dl.fbaipublicfiles.com/segment_anything/{}.pth"
SEEDS = {"clip": 11, "dino": 12, "sam": 13}


def written(role: str, model: str, tag: str, folder: Path) -> tuple[str, Path, str]:
    """Write a model's weights into a folder.

    Args:
        role: `clip`, `dino` or `sam`.
        model: its name in recipes.
        tag: the recipe's.
        folder: for the file.

    Returns:
        The path of its address on the mirror, the file, and the digest that its provenance must have.
    """
    state = random_state(build_model(role, model), SEEDS[role])
    path = folder / f"{role}-{model}.weights"
    if role == "sam":
        torch.save(state, path)
        address = SAM_RELEASE.format(tag)
    else:
        save_file(state, path, metadata={"format": "pt"})
        repository = CLIP_REPOSITORY if role == "clip" else f"timm/{model}"
        address = HUB.format(repository, "open_clip_model.safetensors" if role == "clip" else "model.safetensors")
    return address, path, state_digest(state)
