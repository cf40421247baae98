"""Small models of every architecture whose checkpoints are read, and filling them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import timm
import torch
from torch import nn

from ovdeploy.export.models.checkpoints.fitting import fit
from ovdeploy.export.models.checkpoints.reading import Checkpoint, open_checkpoint
from ovdeploy.export.models.families import build_model, family_of


def _timm(name: str, **sizes: int) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, embed_dim=64, depth=2, num_heads=4, **sizes)


MODELS: Mapping[str, tuple[str, Callable[[], nn.Module]]] = {
    "clip": ("clip", lambda: build_model("clip", "micro")),
    "dino": ("dino", lambda: build_model("dino", "micro")),
    "sam": ("sam", lambda: build_model("sam", "micro")),
    "catseg": ("dense", lambda: build_model("dense", "micro_catseg")),
    "dinov2": ("dino", _timm("vit_small_patch14_dinov2.lvd142m", img_size=70)),
    "dinov2_registers": ("dino", _timm("vit_small_patch14_reg4_dinov2.lvd142m", img_size=70)),
    "dinov2_classifier": ("dino", _timm("vit_small_patch14_dinov2.lvd142m", img_size=70)),
    "dinov3": ("dino", _timm("vit_small_patch16_dinov3.lvd1689m")),
}
"""By a name for tests: the role, and how the model is made. Of timm, the published ones, narrow and shallow."""


def small_model(name: str) -> nn.Module:
    """A small model in evaluation mode."""
    return MODELS[name][1]().eval().requires_grad_(False)


def filled(name: str, given: Path | Mapping[str, torch.Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    """A small model with the weights of a checkpoint, and what was done to it on the way."""
    role, module = MODELS[name][0], small_model(name)
    found = open_checkpoint(given) if isinstance(given, Path) else Checkpoint(dict(given), "tensors")
    reading = family_of(role).reading("micro")
    came = fit(found.tensors, module, reading, f"the small {name}", f"the file ({found.kind})")
    module.load_state_dict(came.state)
    return module, (*found.notes, *came.notes)
