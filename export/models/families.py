"""The foundation models: which there are, how they are made, where their published weights are.

Upstream code is wrapped, not copied: open_clip makes CLIP, timm makes DINO, segment_anything makes SAM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import open_clip
import segment_anything
import timm
import torch
from torch import nn

from ...runtime.errors import RecipeError, WeightsError, one_of
from .miniature import networks as tiny

StateDict = dict[str, torch.Tensor]
MICRO = "micro"
"""Random weights only: the architectures at their smallest, for tests. (`tiny` is trained: see `export/tiny`.)"""

SAM_RELEASE = "https://dl.fbaipublicfiles.com/segment_anything/{}.pth"

SAM_EXTRACTORS = {"sam_vit_b": "vit_b", "sam_vit_l": "vit_l", "sam_vit_h": "vit_h"}
"""SAM's encoder in DINO's place, by the name that a [dino] table gives it."""

EXTRACTORS = (
    *(f"vit_{size}_patch{patch}_224.dino" for size in ("small", "base") for patch in (8, 16)),
    *(f"vit_{size}_patch14_{kind}.lvd142m" for size in ("small", "base") for kind in ("dinov2", "reg4_dinov2")),
    *(f"vit_{size}_patch16_dinov3.lvd1689m" for size in ("small", "base")),
    *SAM_EXTRACTORS,
)
"""What can stand in a [dino] table; those of timm by its names."""

TRANSFORMERS = (
    ("visual.transformer", "resblocks"),
    ("transformer", "resblocks"),
    ("image_encoder", "blocks"),
    ("", "blocks"),
)
"""Where the models' blocks are: module and attribute. CLIP has two transformers."""


class Family(NamedTuple):
    """The models that can play one role."""

    names: Callable[[], Iterable[str]]
    build: Callable[[str], nn.Module]
    """Make a model by name, its weights not yet meaningful."""
    pretrained: Callable[[str, str], StateDict]
    """Fetch published weights: model name, tag."""


def build_model(role: str, name: str, depth: int | None = None) -> nn.Module:
    """Make a model in evaluation mode.

    Args:
        role: `clip`, `dino` or `sam`.
        name: one of the role's names.
        depth: keep only so many of the last blocks of its transformers; None keeps all.

    Raises:
        RecipeError: no such model; the message lists those there are.
    """
    family = FAMILIES[role]
    names = set(family.names())
    if name not in names:
        raise RecipeError(one_of(f"{role} model", name, names))
    model = tiny.BUILDERS[role]() if name == tiny.NAME else family.build(name)
    model.eval().requires_grad_(False)
    if depth is not None:
        for owner, blocks in TRANSFORMERS:
            _keep_last(model, owner, blocks, depth)
    return model


def _keep_last(model: nn.Module, owner: str, blocks: str, depth: int) -> None:
    """Shorten `model.owner.blocks`, where the model has it. The last block of SAM's encoder is global, and stays."""
    try:
        module = model.get_submodule(owner)
    except AttributeError:
        return
    if isinstance(getattr(module, blocks, None), (nn.ModuleList, nn.Sequential)):
        setattr(module, blocks, getattr(module, blocks)[-depth:])


def _build_clip(name: str) -> nn.Module:
    if name != MICRO:
        logging.disable(logging.WARNING)  # it warns that there are no pretrained weights; they are filled in later
        try:
            return open_clip.create_model(name, pretrained=None)
        finally:
            logging.disable(logging.NOTSET)
    vision = open_clip.CLIPVisionCfg(image_size=96, patch_size=16, width=64, layers=3, head_width=16)
    text = open_clip.CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=4, layers=2)
    return open_clip.CLIP(64, vision, text, quick_gelu=True)


def _pretrained_clip(name: str, tag: str) -> StateDict:
    return open_clip.create_model(name, pretrained=tag).state_dict()


def _build_dino(name: str) -> nn.Module:
    if name in SAM_EXTRACTORS:
        return _build_sam(SAM_EXTRACTORS[name])
    if name != MICRO:
        return timm.create_model(name, pretrained=False)
    return timm.models.VisionTransformer(img_size=64, patch_size=8, embed_dim=64, depth=3, num_heads=4, num_classes=0)


def _pretrained_dino(name: str, tag: str) -> StateDict:
    if name in SAM_EXTRACTORS:
        return _pretrained_sam(SAM_EXTRACTORS[name], tag)
    return timm.create_model(name, pretrained=True).state_dict()


def _build_sam(name: str) -> nn.Module:
    if name != MICRO:
        return segment_anything.sam_model_registry[name]()
    return tiny.build_sam(width=64, heads=4)


def _pretrained_sam(name: str, tag: str) -> StateDict:
    """Meta's release: a file whose name ends in the first digits of its SHA-256."""
    try:
        path = torch.hub.get_dir() + f"/checkpoints/{tag}.pth"
        prefix = tag.rsplit("_", 1)[-1]
        torch.hub.download_url_to_file(SAM_RELEASE.format(tag), path, hash_prefix=prefix)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"SAM's checkpoint {tag} cannot be fetched: {error}") from error
    state: StateDict = torch.load(path, map_location="cpu", weights_only=True)
    return state


FAMILIES = {
    "clip": Family(
        lambda: [MICRO, tiny.NAME, *(name for name in open_clip.list_models() if name.startswith("ViT-"))],
        _build_clip,
        _pretrained_clip,
    ),
    "dino": Family(lambda: [MICRO, tiny.NAME, *EXTRACTORS], _build_dino, _pretrained_dino),
    "sam": Family(lambda: [MICRO, tiny.NAME, "vit_b", "vit_l", "vit_h"], _build_sam, _pretrained_sam),
}
